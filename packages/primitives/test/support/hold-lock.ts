/** Started by the tests in processes of their own: takes a lock, says so, and obeys the lines of its input. */
import { createInterface } from 'node:readline'
import { appendFile } from 'node:fs/promises'
import { lockFile } from '../../src/node/lock.ts'

const [path = '', mode = 'hold', log = '', rounds = '0'] = process.argv.slice(2)

async function hold(): Promise<void> {
  const lock = await lockFile(path)
  console.log(`held ${lock.kind} ${process.pid}`)
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'release') await lock.release()
    console.log(line)
    if (line === 'release') break
  }
}

/** Enters and leaves a section that may hold one process; the log shows whether it did. */
async function cycle(): Promise<void> {
  for (let round = 0; round < Number(rounds); round++) {
    const lock = await lockFile(path, { waitMs: 600_000 })
    await appendFile(log, `in ${process.pid}\n`)
    await new Promise((resolve) => setImmediate(resolve))
    await appendFile(log, `out ${process.pid}\n`)
    if (mode === 'cycle-and-die' && round === Number(rounds) - 1) process.kill(process.pid, 'SIGKILL')
    await lock.release()
  }
  console.log('done')
}

await (mode === 'hold' ? hold() : cycle()).catch((error: unknown) => {
  console.log(`error ${(error as { code?: string }).code ?? String(error)}`)
  process.exitCode = 1
})
