import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { writeEterPack, writePck } from '../../../packages/m2pack-format/test/support/legacy-writer.ts'
import { runM2pack } from '../src/m2pack/program.ts'

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'keyturn-import-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

async function m2pack(...argv: string[]): Promise<{
  code: number
  json: { ok: boolean; data?: Record<string, unknown>; error?: { code: string; hint?: string } }
}> {
  let out = ''
  const environment = {
    stdout: { write: (text: string) => void (out += text) },
    stderr: { write: () => undefined },
    env: {},
    signal: new AbortController().signal,
  }
  const code = await runM2pack([...argv, '--json'], environment)
  return { code, json: JSON.parse(out) as { ok: boolean } }
}

describe('m2pack import', () => {
  it('lists and unpacks a .pck', async () => {
    const root = folder()
    const input = join(root, 'root.pck')
    writeFileSync(
      input,
      writePck(
        [
          { name: 'd:/ymir work/a.txt', content: Buffer.from('a'.repeat(100)), encrypted: false },
          { name: 'b.py', content: Buffer.from('print'), encrypted: true },
        ],
        'xchacha20',
      ),
    )
    expect((await m2pack('import', '--input', input)).json.data).toMatchObject({ format: 'pck-xchacha20', imported: 0 })
    expect((await m2pack('import', '--input', input, '--output', join(root, 'out'))).json.data).toMatchObject({
      imported: 2,
      unreadable: 0,
    })
    expect(readFileSync(join(root, 'out/ymir work/a.txt'), 'utf8')).toBe('a'.repeat(100))
    expect(readFileSync(join(root, 'out/b.py'), 'utf8')).toBe('print')
  })

  it('unpacks an EterPack, and leaves out what cannot be read only when told', async () => {
    const root = folder()
    const { index, contents } = writeEterPack(
      [
        { name: 'a.txt', content: Buffer.from('a'), type: 2 },
        { name: 'x.bin', content: Buffer.from('?'), type: 4 },
      ],
      true,
    )
    writeFileSync(join(root, 'p.eix'), index)
    writeFileSync(join(root, 'p.epk'), contents)
    const refused = await m2pack('import', '--input', join(root, 'p.eix'), '--output', join(root, 'out'))
    expect(refused).toMatchObject({ code: 4, json: { ok: false, error: { code: 'M2P_LEGACY' } } })
    expect(
      (await m2pack('import', '--input', join(root, 'p.eix'), '--output', join(root, 'out'), '--skip-unreadable')).json
        .data,
    ).toMatchObject({ imported: 1, unreadable: 1 })
    expect(readFileSync(join(root, 'out/a.txt'), 'utf8')).toBe('a')
  })

  it('says when a file is not a pack', async () => {
    const root = folder()
    writeFileSync(join(root, 'junk.pck'), 'x'.repeat(500))
    expect(await m2pack('import', '--input', join(root, 'junk.pck'))).toMatchObject({
      code: 4,
      json: { error: { code: 'M2P_LEGACY' } },
    })
  })
})
