// Runs a program of the checkout, under the workspace's own Node when the one at hand is too old.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

const OLDEST_NODE = 24
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']

/**
 * Runs a built program with the arguments of this process and ends as it ended.
 *
 * @param {string} path - The program, relative to the root of the checkout.
 */
export async function runFromCheckout(path) {
  const name = basename(process.argv[1] ?? path)
  const main = fileURLToPath(new URL(`../${path}`, import.meta.url))
  const ownNode = fileURLToPath(new URL('../node_modules/.bin/node', import.meta.url))
  if (!existsSync(main)) {
    console.error(`${name}: not built yet; run "npx -y pnpm@12.21.0 build" in the checkout first`)
    process.exitCode = 2
  } else if (Number(process.versions.node.split('.')[0]) >= OLDEST_NODE) {
    await import(main)
  } else if (existsSync(ownNode)) {
    const child = spawn(ownNode, [main, ...process.argv.slice(2)], { stdio: 'inherit' })
    // A signal to this process is meant for the program: without this, a server would keep running alone.
    for (const signal of FORWARDED) process.on(signal, () => child.kill(signal))
    child.on('exit', (code, signal) => {
      if (signal === null) return process.exit(code ?? 70)
      for (const forwarded of FORWARDED) process.removeAllListeners(forwarded)
      process.kill(process.pid, signal)
    })
  } else {
    console.error(`${name}: needs Node ${OLDEST_NODE} or newer, this is ${process.version}`)
    process.exitCode = 2
  }
}
