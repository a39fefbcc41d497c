import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'

let world: World
let archive = ''
beforeAll(async () => {
  world = await World.create()
  archive = join((await world.release()).tree, 'pack', 'data.m2p')
})
afterAll(async () => {
  await world.remove()
})

/** Runs a verb of `keyturn pack` with the home, and its passphrase unless told otherwise. */
function pack(args: readonly string[], passphrase = true): Promise<Outcome> {
  return keyturn(['pack', ...args, '--json'], {
    env: {
      KEYTURN_HOME: world.path('home'),
      ...(passphrase ? { KEYTURN_PASSPHRASE_FILE: world.path('passphrase') } : {}),
    },
  })
}

describe('keyturn pack, of an archive that the home made', () => {
  it('verifies every file without a flag for keys', async () => {
    expect(dataOf(await pack(['verify', '--archive', archive]))).toMatchObject({
      key_id: 1,
      signature_ok: true,
      payloads_checked: true,
      files_checked: 4,
    })
  })

  it('extracts it', async () => {
    expect(dataOf(await pack(['extract', '--archive', archive, '--output', world.path('out')]))).toMatchObject({
      files: 4,
    })
    expect(await readFile(world.path('out', '2.txt'), 'utf8')).toBe(
      await readFile(world.path('source', 'data', '2.txt'), 'utf8'),
    )
  })

  it('checks the signature for list and inspect, which need no passphrase', async () => {
    expect(dataOf(await pack(['list', '--archive', archive], false))).toMatchObject({ signature_checked: true })
    expect(dataOf(await pack(['inspect', '--archive', archive], false))).toMatchObject({ signature_checked: true })
  })

  it("exports the client's header and the runtime key of the home, where no files are named", async () => {
    const header = world.path('M2PackKeys.h')
    const made = await pack(['export-client-config', '--output', header], false)
    expect(dataOf(made)).toMatchObject({ key_id: 1, key_ids: [1] })
    const [key] = (await world.home()).description.contentKeys
    const bytes = [...(key?.verifierPub.matchAll(/../g) ?? [])].map(([hex]) => `0x${hex}`)
    expect((await readFile(header, 'utf8')).replaceAll(/\s/g, '').toLowerCase()).toContain(bytes.slice(0, 8).join(','))
    const file = world.path('own-runtime-key.json')
    expect(dataOf(await pack(['export-runtime-key', '--output', file]))).toMatchObject({ key_id: 1 })
    const shipped = join(archive, '..', '..', 'runtime-key.json')
    expect(JSON.parse(await readFile(file, 'utf8'))).toEqual(JSON.parse(await readFile(shipped, 'utf8')))
    expect(codeOf(await pack(['export-client-config', '--key-id', '9', '--output', world.path('x')]))).toBe('CLI_USAGE')
    expect(codeOf(await pack(['export-runtime-key', '--public-key', file, '--output', world.path('x')]))).toBe(
      'CLI_USAGE',
    )
  })

  it('asks for the passphrase where the content key is needed', async () => {
    expect(codeOf(await pack(['verify', '--archive', archive], false))).toBe('CLI_NO_TERMINAL')
  })

  it('refuses one that was changed since', async () => {
    const bytes = await readFile(archive)
    // The signature, at the end of the header: docs/spec/m2pack.md §2.
    bytes[100]! ^= 1
    await writeFile(world.path('changed.m2p'), bytes)
    for (const verb of ['list', 'verify'])
      expect((await pack([verb, '--archive', world.path('changed.m2p')])).code, verb).toBe(4)
  })
})

describe('keyturn pack, of an archive that somebody else made', () => {
  beforeAll(async () => {
    dataOf(await pack(['keygen', '--out-dir', world.path('keys')]))
    dataOf(
      await pack([
        'build',
        '--input',
        world.path('source', 'data'),
        '--output',
        world.path('other.m2p'),
        '--level',
        '1',
        '--key',
        world.path('keys', 'master.key'),
        '--sign-secret-key',
        world.path('keys', 'signing.key'),
      ]),
    )
  })

  it('lists it unchecked, although its key has a number that the home uses too', async () => {
    expect(dataOf(await pack(['list', '--archive', world.path('other.m2p')]))).toMatchObject({
      key_id: 1,
      signature_checked: false,
    })
  })

  it('says what is missing instead of trusting it', async () => {
    const outcome = await pack(['verify', '--archive', world.path('other.m2p')])
    expect([codeOf(outcome), outcome.code]).toEqual(['CLI_USAGE', 2])
    expect(
      codeOf(
        await pack([
          'extract',
          '--archive',
          world.path('other.m2p'),
          '--output',
          world.path('no'),
          '--public-key',
          world.path('keys', 'signing.pub'),
        ]),
      ),
    ).toBe('CLI_USAGE')
    expect(await readdir(world.folder)).not.toContain('no')
  })

  it('takes explicit flags before the home', async () => {
    const keys = ['--public-key', world.path('keys', 'signing.pub'), '--key', world.path('keys', 'master.key')]
    expect(dataOf(await pack(['verify', '--archive', world.path('other.m2p'), ...keys], false))).toMatchObject({
      payloads_checked: true,
    })
    expect((await pack(['verify', '--archive', archive, ...keys], false)).code).toBe(4)
  })
})
