import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MAIN } from './support/program.ts'

const guide = fileURLToPath(new URL('../../../docs/guides/the-whole-story.md', import.meta.url))

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-story-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

async function runScript(script: string): Promise<{ code: number | null; output: string }> {
  const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${join(folder, 'bin')}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
      HOME: folder,
      NODE_NO_WARNINGS: '1',
    },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  return await new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, output }))
  })
}

describe('docs/guides/the-whole-story.md', () => {
  it('ships, updates, rotates every key and recovers, run as it stands', async () => {
    const blocks = [...(await readFile(guide, 'utf8')).matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
    expect(blocks.length).toBeGreaterThan(8)
    // A program of its own, so that a process started in the background is the one that is stopped.
    await mkdir(join(folder, 'bin'))
    await writeFile(join(folder, 'bin', 'keyturn'), `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`, {
      mode: 0o755,
    })
    const stopServer = `trap '[ -z "\${SERVER:-}" ] || kill "$SERVER" 2>/dev/null || true' EXIT\n`
    const { code, output } = await runScript(stopServer + blocks.join('\n'))
    expect(code, output).toBe(0)
    expect(output).toContain('the client runs with content key 1')
    expect(output).toContain('the client runs with content key 2')
  }, 900_000)
})
