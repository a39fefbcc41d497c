import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hexEncode, z32Encode } from '@keyturn/primitives'
import { rolesInForce } from '@keyturn/publisher/records'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from '../support/keyturn.ts'
import type { Outcome } from '../support/keyturn.ts'
import { World } from '../support/world.ts'

type Data = Record<string, unknown>
interface Home {
  aliases: Record<string, string>
  contentKeys: { keyId: number; verifierPub: string; status: string }[]
  since: Record<string, string>
  policy?: Record<string, number>
}

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

function run(...args: readonly string[]): Promise<Outcome> {
  const own = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', '--yes']
  return keyturn([...args, ...own])
}

async function data(...args: readonly string[]): Promise<Data> {
  return dataOf(await run(...args))
}

function home(): Home {
  return JSON.parse(readFileSync(world.path('home', 'home.json'), 'utf8')) as Home
}

/** As if a key had come into force years ago. */
function age(alias: string): void {
  const described = home()
  const since = { ...described.since, [alias]: '2020-01-01T00:00:00.000Z' }
  writeFileSync(world.path('home', 'home.json'), JSON.stringify({ ...described, since }))
}

async function publicKey(alias: string): Promise<Uint8Array> {
  return await (await (await world.home()).keys()).publicKey(alias)
}

async function transportOf(): Promise<readonly string[]> {
  const { paths, description } = await world.home()
  return (await rolesInForce(paths, description.identity.prefix)).document.transport
}

describe('the archive signing key', () => {
  it('rotates with the content key; archives of older keys keep their verifier', async () => {
    await world.release()
    const before = home()
    expect(await data('rotate', 'content', '--signing-key', '--local')).toMatchObject({
      to_key_id: 2,
      signing_key: 'archive-signing/2',
    })
    const after = home()
    expect(after.aliases['archiveSigning']).toBe('archive-signing/2')
    expect(after.contentKeys).toMatchObject([
      { keyId: 1, verifierPub: before.contentKeys[0]?.verifierPub, status: 'retired' },
      { keyId: 2, verifierPub: hexEncode(await publicKey('archive-signing/2')), status: 'active' },
    ])
    const header = world.path('M2PackKeys.h')
    await data('pack', 'export-client-config', '--output', header)
    expect(readFileSync(header, 'utf8')).toContain('{1u, 2u}')
    expect(await data('doctor')).toMatchObject({ errors: 0 })
    expect(await data('rotate', 'content', '--local')).toMatchObject({ to_key_id: 3 })
    expect(home().aliases['archiveSigning']).toBe('archive-signing/2')
  })

  it('has a due date in status, and rotates by itself with the next content key once it is due', async () => {
    expect((await data('status'))['items']).toEqual(
      expect.arrayContaining([expect.objectContaining({ kind: 'archive-signing', due_state: 'ok' })]),
    )
    age('archive-signing/1')
    expect((await data('status'))['due']).toEqual(['archive-signing archive-signing/1'])
    expect(await data('rotate', 'all', '--due')).toMatchObject({ turned: ['content'] })
    expect(home().aliases['archiveSigning']).toBe('archive-signing/2')
    expect((await data('status'))['due']).toEqual([])
  })
})

describe('the transport identity', () => {
  it('is replaced by a role document; its keys are kept apart, and new ones are published', async () => {
    await data('noise', 'publish')
    const [old] = await transportOf()
    expect(await data('rotate', 'transport-identity', '--dry-run')).toMatchObject({ dry_run: true })
    expect(home().aliases['transportIdentity']).toBe('transport-identity/1')
    expect(await data('rotate', 'transport-identity')).toMatchObject({
      old: 'transport-identity/1',
      transport_identity: 'transport-identity/2',
      roles_version: 2,
    })
    expect(await transportOf()).toEqual([z32Encode(await publicKey('transport-identity/2')), old])
    expect(readdirSync(world.path('home', 'transport.1'))).toContain('keys.json')
    const unpublished = expect.objectContaining({ level: 'warning', mend: 'keyturn noise publish --hand-over' })
    expect(await data('doctor')).toMatchObject({ errors: 0, findings: expect.arrayContaining([unpublished]) })
    await data('noise', 'publish')
    const after = await data('doctor')
    expect(after).toMatchObject({ errors: 0 })
    expect(after['findings']).not.toContainEqual(unpublished)
    expect((await data('noise', 'status'))['identity']).not.toBe(old)
  })

  it('is no longer listed when it is revoked; has a due date; "rotate all" replaces it', async () => {
    await data('rotate', 'transport-identity', '--revoke')
    expect(await transportOf()).toEqual([z32Encode(await publicKey('transport-identity/2'))])
    age('transport-identity/2')
    expect((await data('status'))['due']).toEqual(['transport-identity transport-identity/2'])
    expect(await data('rotate', 'all', '--due')).toMatchObject({ turned: ['transport-identity'] })
    expect(home().aliases['transportIdentity']).toBe('transport-identity/3')
  })
})

describe('keyturn noise interval', () => {
  it('sets the days between rotations, which plan and status follow', async () => {
    await data('noise', 'publish')
    expect(await data('noise', 'interval')).toEqual({ interval_days: null })
    const first = (await data('noise', 'plan'))['turn_at'] as number
    expect(await data('noise', 'interval', '30', '--dry-run')).toMatchObject({ interval_days: 30, dry_run: true })
    expect(home().policy).toBeUndefined()
    expect(await data('noise', 'interval', 'monthly')).toMatchObject({ interval_days: 30, before: null })
    expect(home().policy).toEqual({ transport: 30 })
    expect((await data('noise', 'plan'))['turn_at']).toBeLessThan(first)
    for (const wrong of ['0', '366', 'often', '1'])
      expect(codeOf(await run('noise', 'interval', wrong))).toBe('CLI_USAGE')
    expect(home().policy).toEqual({ transport: 30 })
  })
})
