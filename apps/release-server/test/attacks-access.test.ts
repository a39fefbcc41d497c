import { incept, seedSigner } from '@keyturn/kel/owner'
import { ed25519PublicKey, ed25519Sign, utf8Encode } from '@keyturn/primitives'
import { ReleaseServerClient } from '@keyturn/release-client'
import { describe, expect, it } from 'vitest'
import { OidcChecker, parseOidcRules } from '../src/access/oidc.ts'
import { EventStreams } from '../src/events/event-streams.ts'
import { ServerError } from '../src/errors.ts'
import { startIssuer } from './oidc-issuer.ts'
import { day, keyId, seedOf, TestPublisher } from './publisher.ts'
import { startServer } from './support.ts'
import type { RunningServer } from './support.ts'

async function published(options: Parameters<typeof startServer>[0] = {}) {
  const running = await startServer(options)
  const admin = await running.client(['admin'])
  const publisher = await TestPublisher.create({ now: (options.clock ?? Date.now)() })
  await publisher.introduce(admin)
  const first = await publisher.release({ 'a.txt': utf8Encode('a') })
  await publisher.publish(admin, first)
  return { running, admin, publisher, first }
}

const get = (running: RunningServer, path: string, headers: Record<string, string> = {}) =>
  fetch(`${running.url}${path}`, { headers })

describe('the signature for installs that pin keys', () => {
  const version = (release: { model: { version: string } }) => release.model.version
  const bogus = new Uint8Array(64).fill(7)

  it('is never replaced with one that nobody verified', async () => {
    const { running, admin, publisher } = await published()
    const release = await publisher.release({ 'a.txt': utf8Encode('b') })
    const good = ed25519Sign(seedOf('legacy'), release.manifest)
    await admin.uploadMissing(release.blobs)
    await admin.createRelease('metin2', { ...release, legacySignature: good })
    await admin.publish('metin2', 'stable', { version: version(release), head: await publisher.head(release) })
    const thief = await running.client(['releases:write'])
    const sign = (legacy: Uint8Array) =>
      thief.putSignatures('metin2', 'stable', version(release), {
        signatures: release.signatures,
        legacySignature: legacy,
      })
    await expect(sign(bogus)).rejects.toMatchObject({ code: 'PUB_LEGACY_KEY', status: 409 })
    await expect(thief.createRelease('metin2', { ...release, legacySignature: bogus })).rejects.toMatchObject({
      code: 'PUB_LEGACY_KEY',
    })
    expect(await admin.fetchPublic('/manifest.json.sig')).toEqual(good)
    // The same bytes again change nothing, and are fine.
    await sign(good)
  })

  it('is verified against the keys that the product names, and may then be renewed', async () => {
    const { running, admin, first } = await published()
    await admin.changeProduct('metin2', { pinned_keys: [keyId('legacy')] })
    const thief = await running.client(['releases:write'])
    const sign = (legacy: Uint8Array) =>
      thief.putSignatures('metin2', 'stable', version(first), { signatures: first.signatures, legacySignature: legacy })
    await expect(sign(bogus)).rejects.toMatchObject({ code: 'MAN_SIGNATURE' })
    expect(await admin.fetchPublic('/manifest.json.sig')).toBeUndefined()
    const good = ed25519Sign(seedOf('legacy'), first.manifest)
    await sign(good)
    expect(await admin.fetchPublic('/manifest.json.sig')).toEqual(good)
  })

  it('comes with a new release only under a key of the product', async () => {
    const { admin, publisher } = await published()
    await admin.changeProduct('metin2', { pinned_keys: [keyId('legacy')] })
    const release = await publisher.release({ 'a.txt': utf8Encode('c') })
    await admin.uploadMissing(release.blobs)
    await expect(admin.createRelease('metin2', { ...release, legacySignature: bogus })).rejects.toMatchObject({
      code: 'MAN_SIGNATURE',
    })
    await expect(admin.changeProduct('metin2', { pinned_keys: ['00'] as never })).rejects.toMatchObject({
      code: 'SRV_REQUEST',
    })
  })
})

describe('sessions of OIDC tokens', () => {
  const claims = { repository: 'acme/game' }
  const rule = { claims: { repository: 'acme/game' }, scopes: ['releases:read'] as const, login: true }

  async function world(rules: readonly object[], clock: () => number = Date.now) {
    const issuer = await startIssuer()
    const oidc = { issuer: issuer.url, audience: 'keyturn', rules: rules as never, clock }
    const running = await startServer({ oidc, clock })
    const logIn = async (jwt: string) => {
      const answer = await fetch(`${running.url}/dashboard/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', origin: running.url },
        body: JSON.stringify({ token: jwt }),
      })
      return { status: answer.status, cookie: (answer.headers.get('set-cookie') ?? '').split(';')[0] ?? '' }
    }
    const look = async (cookie: string, at: RunningServer = running) =>
      (await get(at, '/v1/products', { cookie })).status
    return { issuer, oidc, running, logIn, look }
  }

  it('end with the token that began them', async () => {
    let now = Date.now()
    const { issuer, logIn, look } = await world([rule], () => now)
    const { cookie } = await logIn(await issuer.token(claims))
    expect(await look(cookie)).toBe(200)
    now += 6 * 60_000
    expect(await look(cookie)).toBe(401)
  })

  it('end with the rule that allowed them, also after a restart', async () => {
    const { issuer, oidc, running, logIn, look } = await world([rule])
    const { cookie } = await logIn(await issuer.token(claims))
    await running.server.close()
    const again = (rules: readonly object[]) =>
      startServer({ dataDir: running.dataDir, oidc: { ...oidc, rules: rules as never } })
    const same = await again([rule])
    expect(await look(cookie, same)).toBe(200)
    await same.server.close()
    const narrower = await again([{ ...rule, claims: { repository: 'acme/other' } }])
    expect(await look(cookie, narrower)).toBe(401)
    await narrower.server.close()
    const without = await startServer({ dataDir: running.dataDir })
    expect(await look(cookie, without)).toBe(401)
  })

  it('are only for rules of people', async () => {
    const { issuer, running, logIn } = await world([{ ...rule, login: undefined }])
    const jwt = await issuer.token(claims)
    expect((await get(running, '/v1/products', { authorization: `Bearer ${jwt}` })).status).toBe(200)
    expect((await logIn(jwt)).status).toBe(403)
  })

  it('can be listed and ended by an administrator', async () => {
    const { issuer, running, logIn, look } = await world([rule])
    const { cookie } = await logIn(await issuer.token(claims))
    const admin = await running.client(['admin'])
    const [session] = await admin.listSessions()
    expect(session).toMatchObject({ actor: 'oidc:ci' })
    await admin.endSession(session?.id ?? '')
    expect(await look(cookie)).toBe(401)
    expect(await admin.listSessions()).toEqual([])
    await expect(admin.endSession('0'.repeat(32))).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
  })

  it('of a token never outlive it either', async () => {
    let now = Date.now()
    const { running, logIn, look } = await world([], () => now)
    const { cookie } = await logIn(await running.token(['releases:read'], { days: 1 }))
    now += day - 60_000
    const late = await logIn(await running.token(['releases:read'], { days: 1 }))
    expect([await look(cookie), await look(late.cookie)]).toEqual([401, 200])
  })
})

describe('holders of OIDC tokens', () => {
  it('have a name of their own, however long their subjects are', () => {
    const issuer = 'https://issuer.example'
    const claims = { repository: 'acme/game' }
    const checker = new OidcChecker({ issuer, audience: 'x', rules: [{ claims, scopes: ['blobs:write'] }] })
    const nameOf = (sub: string): string => checker.holderOf({ iss: issuer, sub, ...claims }).actor.name
    const long = 'r'.repeat(300)
    expect(nameOf('repo:acme/game')).toBe('oidc:repo:acme/game')
    expect(nameOf(`${long}:main`)).not.toBe(nameOf(`${long}:pull`))
    expect(nameOf(`${long}:main`).length).toBe(200)
  })
})

describe('OIDC rules', () => {
  const base = '"claims":{"repository":"acme/game"},"scopes":["releases:read"]'
  it.each([
    ['an unknown member', `{${base},"product":["other"]}`, 'product'],
    ['a misspelled one', `{${base},"prodcuts":["other"]}`, 'prodcuts'],
    ['products as text', `{${base},"products":"game-demo"}`, 'products'],
    ['no product at all', `{${base},"products":[]}`, 'products'],
    ['a pattern', `{${base},"products":["game*"]}`, 'products'],
    ['* beside a name', `{${base},"channels":["*","beta"]}`, 'channels'],
    ['a name that is not a slug', `{${base},"channels":["Stable"]}`, 'channels'],
    ['scopes as text', '{"claims":{"repository":"acme/game"},"scopes":"releases:read"}', 'scopes'],
    ['no scope', '{"claims":{"repository":"acme/game"},"scopes":[]}', 'scopes'],
    ['an unknown scope', '{"claims":{"repository":"acme/game"},"scopes":["releases:all"]}', 'scopes'],
    ['claims under another name', '{"claim":{"repository":"x"},"scopes":["releases:read"]}', 'claim'],
    ['no claim', '{"claims":{},"scopes":["releases:read"]}', 'claims'],
    ['a claim that anything fits', '{"claims":{"sub":"*"},"scopes":["releases:read"]}', 'claims'],
    ['a claim that is a list', '{"claims":{"sub":["x"]},"scopes":["releases:read"]}', 'sub'],
    ['login as text', `{${base},"login":"true"}`, 'login'],
    ['a member twice', `{${base},"products":["other"],"products":["game"]}`, 'strict JSON'],
    ['an object for the list', '', 'a list'],
  ])('refuse %s', (_name, rule, place) => {
    expect(() => parseOidcRules(rule === '' ? '{}' : `[${rule}]`)).toThrow(
      expect.objectContaining({ code: 'SRV_CONFIG', message: expect.stringContaining(place) }),
    )
  })

  it('take names, and * for everything', () => {
    expect(parseOidcRules(`[{${base},"products":["game"],"channels":["*"],"login":true}]`)).toMatchObject([
      { products: ['game'], channels: ['*'], login: true },
    ])
  })
})

describe('an administrator limited to a product', () => {
  it('cannot take the root of the tree, at the creation or later; one without limits can, and can give it back', async () => {
    const { running, admin, publisher } = await published()
    const limited = await running.client(['admin'], { products: ['other'] })
    const root = async () => (await get(running, '/head.json')).headers.get('etag')
    const before = await root()
    await expect(limited.createProduct({ slug: 'other', pin: publisher.pin, is_default: true })).rejects.toMatchObject({
      code: 'SRV_SCOPE',
    })
    expect(await limited.createProduct({ slug: 'other', pin: publisher.pin })).toMatchObject({ is_default: false })
    await expect(limited.changeProduct('other', { is_default: true })).rejects.toMatchObject({ code: 'SRV_SCOPE' })
    expect(await limited.changeProduct('other', { name: 'Another' })).toMatchObject({ name: 'Another' })
    expect(await root()).toBe(before)
    await expect(limited.changeProduct('metin2', { name: 'x' })).rejects.toMatchObject({ code: 'SRV_NOT_FOUND' })
    await admin.changeProduct('other', { is_default: true })
    expect((await get(running, '/head.json')).status).toBe(404)
    await admin.changeProduct('metin2', { is_default: true })
    expect(await root()).toBe(before)
    expect((await admin.listProducts()).filter(({ is_default: isDefault }) => isDefault)).toHaveLength(1)
  })
})

describe('an event stream', () => {
  async function open(running: RunningServer, secret: string) {
    const answer = await get(running, '/v1/events', { authorization: `Bearer ${secret}` })
    /** Reads until the stream ends. */
    return { answer, rest: () => answer.text() }
  }

  it('ends as soon as its token is revoked', async () => {
    const { running, admin } = await published()
    const secret = await running.token(['releases:read'])
    const { answer, rest } = await open(running, secret)
    expect(answer.status).toBe(200)
    await admin.revokeToken(secret.split('_')[1] ?? '')
    expect(await rest()).toContain(': open')
  })

  it('ends at the next heartbeat once its token has expired or was narrowed, and not when the issuer is away', async () => {
    const { running } = await published()
    const beats: (() => void)[] = []
    let answer: () => Promise<never> = () => Promise.reject(new ServerError('SRV_UNAVAILABLE', 'away'))
    const streams = new EventStreams(running.server.context, {
      authenticate: () => answer(),
      every: (work) => {
        beats.push(work)
        return () => undefined
      },
    })
    let ended = false
    const raw = {
      writeHead: () => raw,
      write: () => true,
      once: () => raw,
      writableLength: 0,
      writableEnded: false,
      end: () => {
        ended = true
      },
      destroy: () => undefined,
    }
    const actor = { name: 'token:x', scopes: ['releases:read'], products: [], channels: [] }
    await streams.serve({ actor, headers: {} } as never, { raw, hijack: () => undefined } as never)
    beats[0]?.()
    await Promise.resolve()
    await new Promise(setImmediate)
    expect(ended).toBe(false)
    answer = () => Promise.reject(new ServerError('SRV_AUTH', 'expired'))
    beats[0]?.()
    await new Promise(setImmediate)
    expect(ended).toBe(true)
  })

  it('is one of a bounded number for each caller', async () => {
    const { running } = await published()
    const secret = await running.token(['releases:read'])
    const answers = await Promise.all(Array.from({ length: 51 }, () => open(running, secret)))
    expect(
      answers
        .map(({ answer }) => answer.status)
        .toSorted()
        .slice(-2),
    ).toEqual([200, 429])
  })
})

describe('what others may see', () => {
  it('/readyz names products and channels only to callers who may see them', async () => {
    let now = Date.now()
    const { running } = await published({ clock: () => now })
    now += 5 * day
    const names = async (headers: Record<string, string> = {}) => (await get(running, '/readyz', headers)).text()
    const bearer = async (...limits: Parameters<RunningServer['token']>) => ({
      authorization: `Bearer ${await running.token(...limits)}`,
    })
    expect(await names()).not.toMatch(/metin2|stable/)
    expect(await names()).toContain('"head","status":"warn","detail":"1 expire')
    expect(await names(await bearer(['releases:read']))).toContain('head:metin2/stable')
    expect(await names(await bearer(['releases:read'], { products: ['other'] }))).not.toContain('metin2')
    expect(await names(await bearer(['audit:read']))).not.toContain('metin2')
    expect((await get(running, '/readyz', { authorization: 'Bearer m2t_wrong' })).status).toBe(401)
  })

  it('stats and keys show a limited token only its channels', async () => {
    const { running, admin, publisher } = await published()
    const beta = await publisher.release({ 'b.txt': utf8Encode('b') }, { channel: 'beta' })
    await publisher.publish(admin, beta)
    const report = (channel: string, version: string) =>
      fetch(`${running.url}/v1/reports`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ product: 'metin2', channel, version }),
      })
    const { items: releases } = await admin.listReleases('metin2')
    for (const { channel, version } of releases) await report(channel, version)
    const channels = async (limits?: { channels: string[] }) => {
      const authorization = `Bearer ${await running.token(['stats:read'], limits)}`
      const { items } = (await (await get(running, '/v1/products/metin2/stats', { authorization })).json()) as {
        items: { channel: string }[]
      }
      return items.map(({ channel }) => channel).toSorted()
    }
    expect(await channels()).toEqual(['beta', 'stable'])
    expect(await channels({ channels: ['stable'] })).toEqual(['stable'])
  })

  it('a check of a release on another channel is not there for a limited token', async () => {
    const { running, admin, first } = await published()
    const check = await admin.checkRelease('metin2', 'stable', first.model.version)
    const limited = `Bearer ${await running.token(['releases:read'], { channels: ['beta'] })}`
    expect((await get(running, `/v1/products/metin2/checks/${check.id}`, { authorization: limited })).status).toBe(404)
  })
})

describe('a release identity and attesters', () => {
  it('exclude each other in whatever order they are set up', async () => {
    const { admin } = await published()
    const identity = await incept(
      { keys: [ed25519PublicKey(seedOf('twofold'))], nextKeys: [ed25519PublicKey(seedOf('twofold next'))] },
      seedSigner([seedOf('twofold')]),
    )
    await admin.putAttester('metin2', identity.prefix, identity.message)
    const pin = `did:keri:${identity.prefix}?sn=0&said=${identity.said}`
    await expect(admin.createProduct({ slug: 'late', pin })).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
    await admin.removeAttester('metin2', identity.prefix)
    await admin.createProduct({ slug: 'late', pin })
    await expect(admin.putAttester('metin2', identity.prefix, identity.message)).rejects.toMatchObject({
      code: 'SRV_CONFLICT',
    })
  })
})

describe('a storage that fails while a head is published (house)', () => {
  it('is never reported as the fault of the publisher', async () => {
    const { running, admin, publisher, first } = await published()
    const second = await publisher.release({ 'a.txt': utf8Encode('second') })
    await admin.uploadMissing(second.blobs)
    await admin.createRelease('metin2', second)
    const head = await publisher.head(second, {
      edit: (draft) => ({
        ...draft,
        fallback: first.pin,
        rollout: { percent: 10, salt: '00'.repeat(16), paused: false },
      }),
    })
    const { metadata } = running.server.context
    // The record of the fallback is damaged: that is the server's fault, and nothing else.
    const key = `metin2/stable/${String(first.pin.sequence).padStart(16, '0')}`
    await metadata.transaction([], (records) => records.put('releases', { key, value: { damaged: true } }))
    const quick = new ReleaseServerClient(running.url, { token: await running.token(['admin']), retries: 0 })
    await expect(quick.publish('metin2', 'stable', { version: second.model.version, head })).rejects.toMatchObject({
      code: 'SRV_STORAGE',
      status: 500,
    })
  })

  it('a head that nobody signed is refused before anything it names is looked up', async () => {
    const { admin, publisher, first } = await published()
    const stranger = await publisher.head(first, {
      signers: ['stranger'],
      edit: (draft) => ({
        ...draft,
        fallback: { ...first.pin, version: 'none', sha256: '00'.repeat(32) },
        rollout: { percent: 10, salt: '00'.repeat(16), paused: false },
      }),
    })
    await expect(
      admin.publish('metin2', 'stable', { version: first.model.version, head: stranger }),
    ).rejects.toMatchObject({ code: 'MAN_KEY_UNKNOWN' })
  })
})
