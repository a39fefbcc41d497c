// Drives the command line from a program of your own: the same code as the binary, with streams you choose.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run } from '@keyturn/cli'

const folder = await mkdtemp(join(tmpdir(), 'keyturn-example-'))
try {
  await writeFile(join(folder, 'passphrase'), 'correct horse battery staple\n', { mode: 0o600 })
  let printed = ''
  const environment = {
    stdout: {
      write: (text: string) => {
        printed += text
      },
    },
    stderr: process.stderr,
    env: { KEYTURN_HOME: join(folder, 'keys'), KEYTURN_PASSPHRASE_FILE: join(folder, 'passphrase') },
    signal: new AbortController().signal,
  }
  const made = await run(['init', '--product', 'example', '--json'], environment)
  const { data } = JSON.parse(printed) as { data: { pin: string } }
  console.log(`exit ${made}: launchers are built with ${data.pin.slice(0, 20)}…`)

  printed = ''
  const checked = await run(['status', '--check', '--json'], environment)
  const status = JSON.parse(printed) as { data: { items: { kind: string; due_state: string }[] } }
  console.log(`exit ${checked}: ${status.data.items.map(({ kind, due_state }) => `${kind} ${due_state}`).join(', ')}`)
} finally {
  await rm(folder, { recursive: true, force: true })
}
