import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { printable } from '@keyturn/primitives'
import '../bounded-memory.ts'
import { LauncherProgram } from '../program/program.ts'
import { parsePlayerConfig } from '../player-config.ts'
import { PlayerSession } from './player-session.ts'
import { SelfUpdate } from './self-update.ts'
import { defaultFolder } from './default-folder.ts'
import { confirmBundle, runningVersion } from './bundle-pointer.ts'
import { readPlayerState } from './player-state.ts'
import type { PlayerContext } from './player-session.ts'

/** What the loader passes on. */
export interface PlayerStart {
  /** Folder of the executable, or the launcher's own one below the user's data. */
  readonly root: string
  /** SHA-256 of the bundle that runs; `undefined`: the one inside the executable. */
  readonly runningSha256: string | undefined
  readonly asset: (name: string) => ArrayBuffer
}

/** Starts the launcher: with arguments as `keyturn-launcher`, without as a window. Called once, by the loader. */
export function startPlayer(start: PlayerStart): void {
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => stop.abort(Object.assign(new Error(`Stopped by ${signal}`), { name: 'AbortError' })))
  // A program with a window may have no streams.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
  void run(start, stop).then(
    (code) => process.exit(code),
    (error: unknown) => {
      process.stderr.write(`error: ${printable(error instanceof Error ? error.message : String(error), 1000)}\n`)
      process.exit(70)
    },
  )
}

async function run(start: PlayerStart, stop: AbortController): Promise<number> {
  const config = parsePlayerConfig(new Uint8Array(start.asset('player.json')))
  const stateFolder = join(start.root, '.launcher')
  const context: PlayerContext = { ...start, config, stateFolder, env: process.env, signal: stop.signal }
  const argv = process.argv.slice(2)
  if (argv.length === 0) return await new PlayerSession(context).run()
  const { installFolder } = await readPlayerState(stateFolder)
  const program = new LauncherProgram({
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal: stop.signal,
    programFolder: start.root,
    player: {
      config,
      stateFolder,
      folder: installFolder ?? defaultFolder(context),
      updateLauncher: async () => await new SelfUpdate({ ...context, folder: stateFolder }).check(),
      runningVersion: () => runningVersion(stateFolder, start.runningSha256, config.version),
    },
  })
  const code = await program.run(argv)
  if (program.isForNewer) return await runAgain(argv)
  // A bundle that ended a command well works, without a window too: scripts may start it again and again.
  if (code === 0) await confirmBundle(stateFolder, start.runningSha256)
  return code
}

/** The same command once more: the loader takes the bundle that was just fetched. */
async function runAgain(argv: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, argv, { stdio: 'inherit' })
  return await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 70))
  })
}
