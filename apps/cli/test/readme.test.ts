import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { putKeyturn, runScript } from './support/shell.ts'

const readme = fileURLToPath(new URL('../../../README.md', import.meta.url))

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-readme-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => {
    server.close(resolve)
  })
  return port
}

/** What a reader does with the lines: another terminal for the server, a stick of their own, yes to every question. */
function asDone(lines: string, port: number): string {
  return lines
    .replaceAll('8470', String(port))
    .replaceAll('…/next-identity', '"$KEYTURN_HOME"/next-identity')
    .replaceAll('/media/stick', `${folder}/stick`)
    .replace(
      /^keyturn serve\b.*$/m,
      `keyturn serve --port ${port} > serve.log & SERVER=$!\nuntil grep -q 'Release server at' serve.log; do sleep ` +
        '0.2; done',
    )
}

describe('README.md', () => {
  it('works as it stands: keys, a release, an install, a rotation', async () => {
    const text = await readFile(readme, 'utf8')
    const section = text.slice(text.indexOf('## Use it'), text.indexOf('## The keys'))
    const blocks = [...section.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
    expect(blocks).toHaveLength(6)
    for (const name of ['stick', 'client/data']) await mkdir(join(folder, name), { recursive: true })
    await putKeyturn(folder, '--yes')
    await writeFile(join(folder, 'passphrase'), 'correct horse\n', { mode: 0o600 })
    await writeFile(join(folder, 'client', 'data', 'a.txt'), 'a\n'.repeat(1000))
    await writeFile(join(folder, 'client', 'play.sh'), '#!/bin/sh\necho "runs with key $M2PACK_KEY_ID"\n', {
      mode: 0o755,
    })
    const trap = `trap '[ -z "\${SERVER:-}" ] || kill "$SERVER"' EXIT\n`
    const script = `set -u; ${trap}${asDone(blocks.join('\n'), await freePort())}`
    const env = { KEYTURN_HOME: join(folder, 'keys'), KEYTURN_PASSPHRASE_FILE: join(folder, 'passphrase') }
    const { code, output } = await runScript(folder, script, { env })
    expect(code, output).toBe(0)
    expect(output).toContain('-1.0.0-linux-x64.tar.gz')
    expect(output).toContain('runs with key 1')
    expect(output).toContain('Content key 2 is in force')
    expect(output).toContain('Sound')
  }, 900_000)
})
