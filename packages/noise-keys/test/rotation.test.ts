import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { base64Encode, hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import {
  combineDirectories,
  createKeyFileHandler,
  memoryDirectory,
  memoryKeyFileStore,
  relayDirectory,
  releaseServerDirectory,
} from '../src/index.ts'
import {
  auditIdentity,
  deriveX25519Static,
  emptyMetadata,
  formatMetadata,
  guideMetadata,
  importGuideMetadata,
  parseMetadata,
  recoverTransportSecret,
  transportPublicKey,
} from '../src/owner/index.ts'
import { MIN_OVERLAP_S } from '../src/owner/policy.ts'
import { assertKeyUsable, preferredKey, readAsOldReader } from '../src/reader/index.ts'
import type { KeyDirectory } from '../src/index.ts'
import { folderDirectory } from '../src/node/index.ts'
import { createRelayHandler, memoryPacketStore } from '../src/pkarr/index.ts'
import type { Fetch } from '../src/pkarr/index.ts'
import { DAY_S, Peer, Publisher, publicKeyOf, START_S, summary } from './publisher.ts'
import { codeOf, rejectionOf } from './support.ts'

const folder = mkdtempSync(join(tmpdir(), 'noise-keys-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A relay called without a network. */
function localRelay(): KeyDirectory {
  const handler = createRelayHandler({ store: memoryPacketStore() })
  const fetch: Fetch = async (input, init) => {
    const url = new URL(input)
    const body = init?.body === undefined ? {} : { body: init.body as Uint8Array }
    const answer = await handler({
      method: init?.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      headers: {},
      ...body,
    })
    return new Response(answer.body === undefined ? null : Uint8Array.from(answer.body), { status: answer.status })
  }
  return relayDirectory({ relays: ['http://relay'], fetch, clock: () => 0 })
}

/** A release server, called without a network. */
function localServer(): KeyDirectory {
  const relay = createRelayHandler({ store: memoryPacketStore() })
  const files = createKeyFileHandler({ store: memoryKeyFileStore() })
  const fetch: Fetch = async (input, init) => {
    const { pathname, searchParams: query } = new URL(input)
    const [, mount = ''] = pathname.split('/')
    const request = {
      method: init?.method ?? 'GET',
      path: pathname.slice(mount.length + 1),
      query,
      headers: {},
      ...(init?.body === undefined ? {} : { body: init.body as Uint8Array }),
    }
    const answer = await (mount === 'pkarr' ? relay(request) : files(request))
    return new Response(answer.body === undefined ? null : Uint8Array.from(answer.body), { status: answer.status })
  }
  return releaseServerDirectory('http://server/', { fetch, clock: () => 0 })
}

const directories: [string, () => KeyDirectory][] = [
  ['memory', () => memoryDirectory()],
  ['a folder', () => folderDirectory(mkdtempSync(join(folder, 'd-')))],
  ['a release server', localServer],
  ['a relay alone', localRelay],
  ['a relay and a folder', () => combineDirectories([localRelay(), folderDirectory(mkdtempSync(join(folder, 'd-')))])],
]

describe.each(directories)('a turn through %s', (_name, make) => {
  it('never leaves a peer without a key (row 154)', async () => {
    const publisher = new Publisher(make())
    const peer = new Peer()
    publisher.add('server')
    await publisher.publish()
    expect(summary(await peer.look(publisher))).toEqual(['server: ok'])

    publisher.nowS += 80 * DAY_S
    publisher.announce()
    await publisher.publish()
    expect(summary(await peer.look(publisher))).toEqual(['server: ok', 'server-v2: next NK_NOT_ACTIVE'])

    publisher.nowS += DAY_S
    publisher.cutOver()
    await publisher.publish()
    const during = await peer.look(publisher)
    expect(summary(during)).toEqual(['server-v2: ok', 'server: retiring'])
    expect(preferredKey(during).device).toBe('server-v2')
    assertKeyUsable(during, publicKeyOf(publisher, 'server'))

    publisher.nowS += MIN_OVERLAP_S - 1
    expect(summary(await peer.look(publisher))).toEqual(['server-v2: ok', 'server: retiring'])
    expect(publisher.retire()).toEqual([])
    publisher.nowS += 1
    // 154: over is over, whether the owner has published since or not.
    expect(summary(await peer.look(publisher))).toEqual(['server-v2: ok', 'server: retired NK_STALE'])
    expect(publisher.retire()).toEqual(['server'])
    await publisher.publish()
    const after = await peer.look(publisher)
    expect(after[0]).toMatchObject({ device: 'server-v2', verdict: 'ok' })
    expect(codeOf(() => assertKeyUsable(after, publicKeyOf(publisher, 'server')))).toMatch(
      /^NK_(STALE|KEY_UNKNOWN|NOT_ACTIVE|REVOKED)$/,
    )
  })

  it('a lost device is refused at once and for good', async () => {
    const publisher = new Publisher(make())
    const peer = new Peer()
    publisher.add('laptop')
    await publisher.publish()
    await peer.look(publisher)
    publisher.announce()
    publisher.revoke('laptop', 'lost')
    publisher.cutOver()
    await publisher.publish('revocation')
    const verdicts = await peer.look(publisher)
    expect(summary(verdicts)).toEqual(['laptop-v2: ok', 'laptop: revoked NK_REVOKED'])
    expect(codeOf(() => assertKeyUsable(verdicts, publicKeyOf(publisher, 'laptop')))).toBe('NK_REVOKED')
    expect(codeOf(() => preferredKey(verdicts))).toBeUndefined()
  })
})

describe('createKeyFileHandler()', () => {
  it('takes what the identity signed and what is newer, and nothing else', async () => {
    const publisher = new Publisher()
    publisher.add('server')
    await publisher.publish()
    const old = await publisher.directory.read(publisher.identity)
    await publisher.publish()
    const now = await publisher.directory.read(publisher.identity)
    const store = memoryKeyFileStore()
    const handler = createKeyFileHandler({ store })
    const call = async (method: string, path: string, body?: Uint8Array): Promise<string> => {
      const { status, code } = await handler({
        method,
        path: `/${publisher.identity.name}/pub/noise.app/${path}`,
        query: new URLSearchParams(),
        headers: {},
        ...(body && { body }),
      })
      return code === undefined ? String(status) : `${status} ${code}`
    }
    const record = (published: typeof old): Uint8Array => utf8Encode(published.records.get('server') ?? '')
    expect([await call('GET', 'v1/keys'), await call('GET', 'v0/server')]).toEqual([
      '404 NK_NOT_FOUND',
      '404 NK_NOT_FOUND',
    ])
    expect([
      await call('PUT', 'v1/keys', now.list),
      await call('PUT', 'v1/keys', now.list),
      await call('PUT', 'v1/keys', old.list),
    ]).toEqual(['204', '204', '409 NK_ROLLBACK'])
    expect([
      await call('PUT', 'v0/server', record(now)),
      await call('PUT', 'v0/server', record(old)),
      await call('GET', 'v0/server'),
    ]).toEqual(['204', '409 NK_ROLLBACK', '200'])
    expect(await call('PUT', 'v0/other', record(now))).toBe('422 NK_BINDING_SIGNATURE')
    const [key] = publisher.metadata.keys
    expect(await call('PUT', 'v0/server', utf8Encode(`v=1;k=${key?.publicKey ?? ''}`))).toBe('422 NK_DOWNGRADE')
    expect([
      await call('PUT', 'v0/server', Uint8Array.of(255)),
      await call('PUT', 'v0/server', new Uint8Array(1025)),
    ]).toEqual(['422 NK_RECORD', '413 NK_LIMIT'])
    expect([await call('DELETE', 'v0/server'), await call('GET', 'v0/../keys'), await call('GET', 'v2/x')]).toEqual([
      '405 NK_RELAY',
      '404 NK_NOT_FOUND',
      '404 NK_NOT_FOUND',
    ])
    const closed = createKeyFileHandler({ store, allow: () => false })
    expect(
      (
        await closed({
          method: 'PUT',
          path: `/${publisher.identity.name}/pub/noise.app/v1/keys`,
          query: new URLSearchParams(),
          headers: {},
          body: now.list as Uint8Array,
        })
      ).status,
    ).toBe(403)
  })
})

describe('old readers', () => {
  it('go on reading what is published, and refuse what is revoked', async () => {
    const publisher = new Publisher(folderDirectory(folder))
    publisher.add('default')
    await publisher.publish()
    const path = join(folder, publisher.identity.name, 'pub/noise.app/v0/default')
    const place = { identity: publisher.identity.publicKey, deviceId: 'default' }
    expect(readAsOldReader(readFileSync(path, 'utf8'), place, { nowS: publisher.nowS })).toBe('ok')
    publisher.revoke('default')
    await publisher.publish('revocation')
    expect(readAsOldReader(readFileSync(path, 'utf8'), place)).toBe('error:missing-signature')
  })

  it('an empty file counts as not published', async () => {
    const publisher = new Publisher(folderDirectory(folder))
    writeFileSync(join(folder, publisher.identity.name, 'pub/noise.app/v0/empty'), '')
    expect((await publisher.directory.read(publisher.identity)).records.has('empty')).toBe(false)
    expect((await publisher.directory.read(new Publisher().identity)).records.size).toBeGreaterThan(0)
  })
})

describe('metadata', () => {
  it('comes back from its file, and a damaged one is NK_METADATA', async () => {
    const publisher = new Publisher()
    publisher.add('server')
    await publisher.publish()
    publisher.announce()
    expect(parseMetadata(formatMetadata(publisher.metadata))).toEqual(publisher.metadata)
    for (const bad of [
      '',
      '{}',
      '{"version":1}',
      '{"version":2,"keys":[]}',
      new TextDecoder().decode(formatMetadata(publisher.metadata)).replaceAll('server-v2', 'server'),
    ]) {
      expect(codeOf(() => parseMetadata(utf8Encode(bad)))).toBe('NK_METADATA')
    }
  })

  it('holds no secret, and the secret can be derived again', async () => {
    const publisher = new Publisher()
    publisher.add('server')
    await publisher.publish()
    const secret = deriveX25519Static(publisher.seed, 'server')
    const text = new TextDecoder().decode(formatMetadata(publisher.metadata))
    for (const bytes of [secret, publisher.seed])
      for (const form of [hexEncode(bytes), base64Encode(bytes)]) expect(text).not.toContain(form)
    const [key] = publisher.metadata.keys
    expect(recoverTransportSecret(publisher.seed, key as never)).toEqual(secret)
    expect(codeOf(() => recoverTransportSecret(sha256(publisher.seed), key as never))).toBe('NK_METADATA')
    expect(
      codeOf(() => recoverTransportSecret(publisher.seed, { ...(key as object), generation: 'random' } as never)),
    ).toBe('NK_KDF')
  })

  it('takes over an installation of the guide, with the missing fields derived', () => {
    const publisher = new Publisher()
    const guide = utf8Encode(
      JSON.stringify({ created_at: 1_700_000_000, published_at: 1_700_000_100, last_rotated: null, rotation_count: 3 }),
    )
    const key = {
      device: 'device-v1',
      publicKey: transportPublicKey(deriveX25519Static(publisher.seed, 'device-v1')),
      generation: 'G2' as const,
    }
    const metadata = importGuideMetadata(publisher.identity.name, guide, key)
    expect(metadata).toMatchObject({
      rotationCount: 3,
      keys: [{ device: 'device-v1', state: 'active', activeFromS: 1_700_000_000, sequence: 0 }],
    })
    expect(guideMetadata(metadata, 'device-v1')).toEqual({
      created_at: 1_700_000_000,
      published_at: 1_700_000_100,
      last_rotated: null,
      rotation_count: 3,
    })
    for (const bad of [
      '',
      '[]',
      '{"created_at":1}',
      '{"created_at":-1,"published_at":1,"last_rotated":null,"rotation_count":0}',
    ]) {
      expect(codeOf(() => importGuideMetadata(publisher.identity.name, utf8Encode(bad), key))).toBe('NK_METADATA')
    }
  })

  it('refuses a device id that had a key, a second next key, and a rotation without one', () => {
    const publisher = new Publisher()
    publisher.add('server')
    expect(codeOf(() => publisher.add('server'))).toBe('NK_DEVICE_ID')
    expect(codeOf(() => publisher.cutOver())).toBe('NK_METADATA')
    publisher.announce()
    expect(publisher.metadata.keys.map(({ device }) => device)).toEqual(['server', 'server-v2'])
    expect(codeOf(() => publisher.announce())).toBe('NK_METADATA')
    expect(codeOf(() => publisher.revoke('other'))).toBe('NK_DEVICE_ID')
    expect(codeOf(() => emptyMetadata('nonsense'))).toBe('NK_IDENTITY')
  })
})

describe('auditIdentity()', () => {
  const options = { nowS: START_S }

  it('finds nothing wrong where nothing is', async () => {
    const publisher = new Publisher()
    publisher.add('server')
    await publisher.publish()
    expect((await auditIdentity(publisher.identity, [publisher.directory], options)).findings).toEqual([])
  })

  it('names age, expiry, short overlaps, lagging relays, plain records, unlisted devices and missing records', async () => {
    const publisher = new Publisher()
    publisher.add('server')
    await publisher.publish()
    const lagging = memoryDirectory('lagging')
    const { packet } = await publisher.directory.read(publisher.identity)
    if (packet !== undefined) await lagging.putPacket(publisher.identity, packet)
    const late = await auditIdentity(publisher.identity, [publisher.directory], { nowS: START_S + 120 * DAY_S })
    expect(late.findings.map(({ problem }) => problem)).toEqual(expect.arrayContaining(['no-usable-key', 'refused']))
    const old = await auditIdentity(publisher.identity, [publisher.directory], {
      nowS: START_S + 89 * DAY_S,
      maxAgeDays: 60,
      expirySoonDays: 60,
    })
    expect(old.findings.map(({ problem }) => problem)).toEqual(['old-key', 'expires-soon'])

    publisher.nowS += DAY_S
    publisher.announce()
    publisher.metadata = { ...publisher.metadata, policy: { ...publisher.metadata.policy, overlapS: DAY_S } }
    publisher.cutOver()
    await publisher.publish()
    await publisher.directory.putRecord(
      publisher.identity,
      'stranger',
      `v=1;k=${base64Encode(transportPublicKey(publisher.seed))}`,
    )
    const report = await auditIdentity(publisher.identity, [publisher.directory, lagging], { nowS: publisher.nowS })
    expect(report.findings.map(({ problem, where }) => `${problem} ${where}`)).toEqual([
      'stale-relay lagging',
      'refused stranger',
      'short-overlap server',
    ])
  })

  it('says when nothing is there, or nobody answers', async () => {
    const publisher = new Publisher()
    expect(
      (await auditIdentity(publisher.identity, [memoryDirectory()], options)).findings.map(({ problem }) => problem),
    ).toEqual(['nothing-published'])
    const dead = relayDirectory({ relays: ['http://127.0.0.1:9'] })
    expect((await auditIdentity(publisher.identity, [dead], options)).findings.map(({ problem }) => problem)).toEqual([
      'unreachable',
    ])
    expect(await rejectionOf(new Peer().look(publisher, {}, dead))).toBe('NK_UNREACHABLE')
  })
})
