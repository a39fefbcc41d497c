import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { putKeyturn, runScript } from './support/shell.ts'

const guide = fileURLToPath(new URL('../../../docs/guides/the-whole-story.md', import.meta.url))

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-story-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

describe('docs/guides/the-whole-story.md', () => {
  it('ships, updates, rotates every key and recovers, run as it stands', async () => {
    const blocks = [...(await readFile(guide, 'utf8')).matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
    expect(blocks.length).toBeGreaterThan(8)
    // A program of its own, so that a process started in the background is the one that is stopped.
    await putKeyturn(folder)
    const stopServer = `trap '[ -z "\${SERVER:-}" ] || kill "$SERVER" 2>/dev/null || true' EXIT\n`
    const { code, output } = await runScript(folder, `set -u; ${stopServer}${blocks.join('\n')}`)
    expect(code, output).toBe(0)
    expect(output).toContain('the client runs with content key 1')
    expect(output).toContain('the client runs with content key 2')
  }, 900_000)
})
