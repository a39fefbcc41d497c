// A miniature game client, which a launcher starts in the folder it installed: takes its runtime key,
// opens every archive below pack/ with it, checks every file, prints one line of JSON, and exits with 0 if all is well.
//
//   sample-client [--dir DIR] [--out FILE]
//
// It takes the key first: no process may be started before that. It knows nothing about servers or manifests.
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { verifyArchiveFile } from '@keyturn/m2pack-format/node'
import { KeyturnError } from '@keyturn/primitives'
import { receiveRuntimeKey } from '@keyturn/runtime-key/node'

interface Report {
  ok: boolean
  key_id: number
  archives: number
  files: number
  bytes: number
  /** Codes of what failed. */
  failures: string[]
  ms: number
}

const EXIT_REFUSED = 4

function flag(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

async function check(folder: string): Promise<Report> {
  const started = performance.now()
  using key = receiveRuntimeKey()
  const report: Report = { ok: false, key_id: key.keyId, archives: 0, files: 0, bytes: 0, failures: [], ms: 0 }
  const verifier = key.signPublicKey
  if (verifier === undefined) throw new Error('No verifier came with the key, and this client embeds none')
  // A copy for the readers of the archives, which are asynchronous; wiped below.
  const contentKey = key.withBytes((bytes) => bytes.slice())
  try {
    for (const name of readdirSync(join(folder, 'pack'))
      .filter((file) => file.endsWith('.m2p'))
      .toSorted()) {
      const result = await verifyArchiveFile(join(folder, 'pack', name), {
        verifiers: new Map([[key.keyId, verifier]]),
        contentKey: { keyId: key.keyId, key: contentKey },
      })
      report.archives += 1
      report.files += result.filesChecked
      report.bytes += result.bytesChecked
      report.failures.push(...result.failures.map(({ code }) => code))
    }
  } finally {
    contentKey.fill(0)
  }
  report.ok = report.archives > 0 && report.failures.length === 0
  report.ms = Math.round(performance.now() - started)
  return report
}

function failed(error: unknown): { ok: false; code: string; message: string } {
  const code = error instanceof KeyturnError ? error.code : 'UNKNOWN'
  return { ok: false, code, message: error instanceof Error ? error.message : String(error) }
}

const outcome = await check(flag('--dir') ?? process.cwd()).catch(failed)
const line = `${JSON.stringify(outcome)}\n`
const out = flag('--out')
if (out !== undefined) writeFileSync(out, line)
process.stdout.write(line)
process.exitCode = outcome.ok ? 0 : EXIT_REFUSED
