// A client: receives its key, says on one line what it got and what it can see of itself, then waits for stdin to end.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { spawnSync } from 'node:child_process'
import { receiveRuntimeKey } from '../../src/node/index.ts'

function openFiles(pid: string): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [`${fd} ${readlinkSync(`/proc/${pid}/fd/${fd}`)}`]
    } catch {
      return []
    }
  })
}

const before = openFiles('self')
let answer: Record<string, unknown>
try {
  const key = receiveRuntimeKey()
  // The shell lists its own descriptors: what a grandchild inherits.
  const grandchild = spawnSync('/bin/sh', ['-c', 'ls -l /proc/$$/fd; env'], { encoding: 'utf8' }).stdout
  answer = {
    ok: true,
    keyId: key.keyId,
    keySha256: key.withBytes((bytes) => createHash('sha256').update(bytes).digest('hex')),
    verifier: key.signPublicKey && Buffer.from(key.signPublicKey).toString('hex'),
    environ: readFileSync('/proc/self/environ', 'latin1')
      .split('\0')
      .map((entry) => entry.split('=', 1)[0]),
    variables: Object.keys(process.env).filter((name) => name.startsWith('M2PACK_')),
    before,
    after: openFiles('self'),
    grandchild,
    limits: readFileSync('/proc/self/limits', 'utf8')
      .split('\n')
      .find((line) => line.startsWith('Max core')),
    filter: readFileSync('/proc/self/coredump_filter', 'utf8').trim(),
  }
  key.dispose()
} catch (error) {
  answer = { ok: false, code: (error as { code?: string }).code, message: (error as Error).message }
}
process.stdout.write(`${JSON.stringify(answer)}\n`)
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
