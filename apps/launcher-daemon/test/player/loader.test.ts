import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { chooseBundle } from '../../src/player/loader.ts'
import type { Choice } from '../../src/player/loader.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'keyturn-loader-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const embedded = 'the embedded bundle'

function choose(env: Record<string, string> = {}): Choice {
  return chooseBundle({
    asset: (name) => (name === 'player.json' ? JSON.stringify({ id: 'my-game', version: '1.0.0' }) : embedded),
    execPath: join(root, 'my-game'),
    env,
    nodeVersion: '24.21.0',
  })
}

function build(code: string, version: string): { sha256: string; version: string; node: number } {
  const sha256 = createHash('sha256').update(code).digest('hex')
  mkdirSync(join(root, '.launcher'), { recursive: true })
  writeFileSync(join(root, '.launcher', `${sha256}.cjs`), code)
  return { sha256, version, node: 24 }
}

function point(pointer: object): void {
  mkdirSync(join(root, '.launcher'), { recursive: true })
  writeFileSync(join(root, '.launcher/current.json'), JSON.stringify(pointer))
}

describe('files that somebody else may have put there', () => {
  it('are not read: links, and what others may write', () => {
    const newer = build('one', '1.0.1')
    const pointer = join(root, '.launcher/current.json')
    point({ ...newer, confirmed: true, tries: 0 })
    expect(choose().code).toBe('one')
    chmodSync(pointer, 0o666)
    expect(choose().code).toBe(embedded)
    chmodSync(pointer, 0o600)
    const bundle = join(root, '.launcher', `${newer.sha256}.cjs`)
    renameSync(bundle, join(root, 'elsewhere.cjs'))
    symlinkSync(join(root, 'elsewhere.cjs'), bundle)
    expect(choose().code).toBe(embedded)
    rmSync(bundle)
    renameSync(join(root, 'elsewhere.cjs'), bundle)
    expect(choose().code).toBe('one')
    renameSync(pointer, join(root, 'elsewhere.json'))
    symlinkSync(join(root, 'elsewhere.json'), pointer)
    expect(choose().code).toBe(embedded)
  })

  it('are not written through: a link in the place of the new pointer is replaced', () => {
    point({ ...build('one', '1.0.1'), confirmed: false, tries: 0 })
    const mine = join(root, 'mine.txt')
    writeFileSync(mine, 'mine')
    symlinkSync(mine, join(root, '.launcher/current.json.new'))
    expect(choose().code).toBe('one')
    expect(readFileSync(mine, 'utf8')).toBe('mine')
    expect(JSON.parse(readFileSync(join(root, '.launcher/current.json'), 'utf8'))).toMatchObject({ tries: 1 })
  })
})

describe('chooseBundle()', () => {
  it('takes the embedded bundle where nothing was installed', () => {
    expect(choose()).toEqual({ root, code: embedded, sha256: undefined })
  })

  it('takes a confirmed newer bundle and does not count its starts', () => {
    const newer = build('one', '1.0.1')
    point({ ...newer, confirmed: true, tries: 0 })
    expect(choose()).toEqual({ root, code: 'one', sha256: newer.sha256 })
    expect(JSON.parse(readFileSync(join(root, '.launcher/current.json'), 'utf8'))).toMatchObject({ tries: 0 })
  })

  it('tries an unconfirmed bundle twice, then takes the confirmed one before it', () => {
    const good = build('good', '1.1.0')
    const broken = build('broken', '1.2.0')
    point({ ...broken, confirmed: false, tries: 0, previous: good })
    expect([choose().code, choose().code, choose().code, choose().code]).toEqual(['broken', 'broken', 'good', 'good'])
  })

  it('goes back to the embedded bundle when there is none before', () => {
    point({ ...build('broken', '1.2.0'), confirmed: false, tries: 2 })
    expect(choose().code).toBe(embedded)
  })

  it.each([
    ['one that is not newer', { version: '1.0.0' }],
    ['one that is older', { version: '0.9.9' }],
    ['one whose version is not three numbers', { version: '2026.11.30-1' }],
    ['one without a version', { version: undefined }],
    ['one for another Node', { node: 26 }],
    ['one whose hash is another', { sha256: 'f'.repeat(64) }],
    ['one with a path in place of a hash', { sha256: '../../evil' }],
  ])('refuses %s', (_title, change) => {
    point({ ...build('one', '1.0.1'), confirmed: true, tries: 0, ...change })
    expect(choose().code).toBe(embedded)
  })

  it('refuses a bundle whose bytes changed', () => {
    const newer = build('one', '1.0.1')
    writeFileSync(join(root, '.launcher', `${newer.sha256}.cjs`), 'two')
    point({ ...newer, confirmed: true, tries: 0 })
    expect(choose().code).toBe(embedded)
  })

  it('survives a pointer that is not JSON, or null', () => {
    mkdirSync(join(root, '.launcher'))
    for (const text of ['{', 'null', '[]', '"x"']) {
      writeFileSync(join(root, '.launcher/current.json'), text)
      expect(choose().code).toBe(embedded)
    }
  })

  it.skipIf(process.getuid?.() === 0)('keeps its own below the user’s data where it cannot write beside itself', () => {
    const data = join(root, 'data')
    mkdirSync(data)
    chmodSync(root, 0o500)
    expect(choose({ XDG_DATA_HOME: data }).root).toBe(join(data, 'my-game'))
    chmodSync(root, 0o700)
  })

  it('keeps its own below the user’s data where a file is in the way', () => {
    writeFileSync(join(root, '.launcher'), '')
    const home = join(root, 'home')
    expect(choose({ HOME: home }).root).toBe(join(home, '.local/share/my-game'))
    expect(existsSync(join(home, '.local/share/my-game/.launcher'))).toBe(true)
    expect(choose({ LOCALAPPDATA: join(root, 'local') }).root).toBe(join(root, 'local/my-game'))
  })

  it('takes no code from a folder that others may write, that is a link, or that is somebody else’s', () => {
    const home = join(root, 'home')
    const own = join(root, '.launcher')
    const elsewhere = join(home, '.local/share/my-game')
    const plant = (): void => {
      const newer = build('planted', '9.9.9')
      point({ ...newer, confirmed: true, tries: 0 })
    }
    plant()
    chmodSync(own, 0o777)
    expect(choose({ HOME: home })).toEqual({ root: elsewhere, code: embedded, sha256: undefined })
    chmodSync(own, 0o700)
    expect(choose({ HOME: home }).code).toBe('planted')
    renameSync(own, join(root, 'real'))
    symlinkSync(join(root, 'real'), own)
    expect(choose({ HOME: home })).toEqual({ root: elsewhere, code: embedded, sha256: undefined })
    if (process.getuid?.() !== 0) return
    rmSync(own)
    renameSync(join(root, 'real'), own)
    chownSync(own, 65_534, 65_534)
    expect(choose({ HOME: home })).toEqual({ root: elsewhere, code: embedded, sha256: undefined })
  })
})
