import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { didKey } from '@keyturn/kel'
import { incept, seedSigner, signStatement } from '@keyturn/kel/owner'
import { createTransportIdentity } from '@keyturn/noise-keys'
import {
  activeKey,
  addKey,
  afterPublication,
  cutOver,
  deriveX25519Static,
  draftPublication,
  emptyMetadata,
  publish,
  revoke,
  signPublication,
} from '@keyturn/noise-keys/owner'
import { ed25519PublicKey, hexEncode, sha256, systemRandom, utf8Encode, x25519PublicKey } from '@keyturn/primitives'
import { nodeFileSystem } from '@keyturn/primitives/node'
import { createReleaseServer } from '@keyturn/release-server'
import type { ReleaseServer } from '@keyturn/release-server'
import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { parseRuntimeKeyJson, writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import { afterEach, describe, expect, it } from 'vitest'
import { DeviceKey, createEngine } from '@keyturn/install-engine'
import type { Engine } from '@keyturn/install-engine'
import { temporaryFolder } from '../../../packages/install-engine/test/support/install.ts'
import { contentKey, Publisher, seedOf } from '../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease } from '../../../packages/install-engine/test/support/publisher.ts'

// The runtime key over Noise, from a release server on a port of its own to a client in a process of its own.

const running: ReleaseServer[] = []
afterEach(async () => {
  for (const server of running.splice(0)) await server.close()
})

const script =
  "import { writeFileSync } from 'node:fs'\nwriteFileSync(process.argv[2], process.env.M2PACK_MASTER_KEY_HEX ?? 'no key')"
const perMinute = 1e9

async function world(access: 'open' | 'devices' = 'open') {
  let clockMs = Date.now()
  const clock = () => clockMs
  const dataDir = await temporaryFolder()
  const options = {
    dataDir,
    drainMs: 500,
    clock,
    vault: { passphrase: 'correct horse', scryptLogN: 4 },
    rates: {
      publicPerMinute: perMinute,
      managementPerMinute: perMinute,
      noisePerMinute: perMinute,
      reportsPerMinute: perMinute,
      loginPerMinute: perMinute,
    },
  }
  const start = async (port = 0): Promise<{ server: ReleaseServer; url: string }> => {
    const server = await createReleaseServer({ ...options, port })
    running.push(server)
    return { server, url: (await server.listen()).url }
  }
  const { server, url } = await start()
  const client = new ReleaseServerClient(url, {
    token: (await server.createToken({ name: 'test', scopes: ['admin'], days: 400 })).secret,
    retryPauseMs: 1,
  })
  const transport = createTransportIdentity(systemRandom)
  const publisher = await Publisher.create()
  publisher.nowMs = clockMs - 3_600_000
  await publisher.rotate(() => ({ transport: [transport.name] }))
  await client.createProduct({ slug: 'metin2', pin: publisher.trust, runtime_key_access: access })
  for (const version of [1, 2])
    await client.putRoles('metin2', version, publisher.tree.get(`roles/${version}.json`) as Uint8Array)
  await client.putLog('metin2', publisher.tree.get(`kel/${publisher.events[0]?.prefix}.cesr`) as Uint8Array)
  const key = contentKey(4)
  const release = async (edition: string, contentKeys = [key.entry]): Promise<MadeRelease> => {
    const keyId = contentKeys.at(-1)?.keyId
    const made = await publisher.release(
      {
        'client.mjs': script,
        'edition.txt': edition,
        'pack/a.m2p': { bytes: utf8Encode('archive'), ...(keyId !== undefined && { keyId }) },
      },
      { format: 'm2pack', place: { contentKeys } },
    )
    await client.uploadMissing(
      [...publisher.tree].filter(([path]) => path.startsWith('files/')).map(([, bytes]) => blobFromBytes(bytes)),
    )
    await client.createRelease('metin2', { ...made, manifest: made.bytes })
    await client.publish('metin2', 'stable', {
      version: made.model.version,
      head: publisher.tree.get('channels/stable/head.json') as Uint8Array,
    })
    return made
  }
  await release('one')
  const runtimeKey = parseRuntimeKeyJson(key.json)
  await client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(runtimeKey))
  runtimeKey.dispose()
  let metadata = emptyMetadata(transport.name)
  const seconds = (): number => Math.floor(clockMs / 1000)
  const keys = {
    announce: async (order: 'turn' | 'revocation' = 'turn') => {
      const signed = signPublication(transport.seed, draftPublication(metadata, seconds()))
      await publish(client.keyDirectory(), signed, order)
      metadata = afterPublication(metadata, signed)
    },
    add: async (device: string) => {
      const secret = deriveX25519Static(transport.seed, device)
      metadata = addKey(
        metadata,
        { device, publicKey: x25519PublicKey(secret), generation: 'G2' },
        seconds(),
        seconds(),
      )
      await client.putTransportKey(transport.name, device, secret)
      await keys.announce()
    },
    cutOver: async () => {
      metadata = cutOver(metadata, seconds() + 1)
      await keys.announce()
    },
    revoke: async (device: string) => {
      metadata = revoke(metadata, device, 'compromise', seconds() + 1)
      clockMs += 2_000
      await keys.announce('revocation')
    },
    active: () => activeKey(metadata)?.device,
  }
  await keys.add('one')
  const [folder, home] = [await temporaryFolder(), await temporaryFolder()]
  const env = { ...process.env, XDG_DATA_HOME: home, LOCALAPPDATA: home }
  const engineOn = (address = url, more: { runtimeKeyCache?: boolean } = {}): Engine =>
    createEngine({
      folder,
      server: `${address}/`,
      trust: publisher.trust,
      clock,
      env,
      program: ['client.mjs'],
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
      ...more,
    })
  const out = join(home, 'out.txt')
  /** Starts the client and tells which key it got, or the code of why it did not start. */
  const play = async (engine = engineOn(), update = true): Promise<string> => {
    await writeFile(out, 'not started')
    try {
      const { exited, confirmed } = await engine.launch({ args: [out], update, stdio: ['ignore', 'ignore', 'ignore'] })
      await Promise.all([exited, confirmed])
      return await readFile(out, 'utf8')
    } catch (error) {
      expect(await readFile(out, 'utf8')).toBe('not started')
      return (error as { code: string }).code
    }
  }
  const device = new DeviceKey(nodeFileSystem, DeviceKey.file(env))
  return {
    server,
    url,
    client,
    publisher,
    key,
    keys,
    dataDir,
    folder,
    home,
    engineOn,
    play,
    release,
    start,
    device,
    later: (ms: number) => {
      clockMs += ms
    },
    stop: async () => {
      for (const one of running.splice(0)) await one.close()
    },
    dropCache: () => rm(join(folder, '.updates/runtime-keys.sealed')),
  }
}

/** A port where nothing listens. */
const nowhere = 'http://127.0.0.1:9'

describe('the runtime key from a release server, access open', () => {
  it('reaches the client, and no file of the install or of the server holds it', async () => {
    const { play, key, folder, dataDir, stop } = await world()
    expect(await play()).toBe(key.hex)
    await stop()
    for (const place of [folder, dataDir]) {
      for (const entry of await readdir(place, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue
        const bytes = await readFile(join(entry.parentPath, entry.name))
        expect([bytes.includes(key.hex), bytes.includes(Buffer.from(key.hex, 'hex'))], entry.name).toEqual([
          false,
          false,
        ])
      }
    }
  })

  it('starts from the sealed cache while the server is away, for this release alone', async () => {
    const { play, key, engineOn, stop, dropCache, home, folder } = await world()
    expect(await play()).toBe(key.hex)
    await stop()
    expect(await play()).toBe(key.hex)
    expect(await play(engineOn(nowhere))).toBe(key.hex)
    const sealed = await readFile(join(folder, '.updates/runtime-keys.sealed'))
    await writeFile(
      join(folder, '.updates/runtime-keys.sealed'),
      sealed.map((byte, at) => (at === 60 ? byte ^ 1 : byte)),
    )
    expect(await play()).toBe('LA_NETWORK')
    await writeFile(join(folder, '.updates/runtime-keys.sealed'), sealed)
    const seal = join(home, 'keyturn-launcher/seal.key')
    const bytes = await readFile(seal)
    await writeFile(seal, new Uint8Array(32)) // a copied install, on another machine
    expect(await play()).toBe('LA_NETWORK')
    await writeFile(seal, bytes)
    expect(await play()).toBe(key.hex)
    await dropCache()
    expect(await play()).toBe('LA_NETWORK')
  })

  it('keeps nothing with runtimeKeyCache off', async () => {
    const { play, key, engineOn, stop, url } = await world()
    expect(await play()).toBe(key.hex)
    expect(await play(engineOn(url, { runtimeKeyCache: false }))).toBe(key.hex)
    await stop()
    expect(await play()).toBe('LA_NETWORK')
  })

  it('goes on under the new key of a rotated server, also when the old one is gone', async () => {
    const { play, key, keys, dropCache, later } = await world()
    expect(await play()).toBe(key.hex)
    await keys.add('two')
    later(2_000)
    await keys.cutOver()
    expect(keys.active()).toBe('two')
    await dropCache()
    expect(await play()).toBe(key.hex)
    later(300 * 24 * 3_600_000) // the old one retired, everything signed expired
    await keys.announce()
    await dropCache()
    expect(await play(undefined, false)).toBe(key.hex)
  })

  it('never asks under a revoked key; the cached key starts, without it nothing does until there is a new one', async () => {
    const { play, key, keys, dropCache } = await world()
    expect(await play()).toBe(key.hex)
    await keys.revoke('one')
    expect(await play()).toBe(key.hex)
    await dropCache()
    expect(await play()).toMatch(/^NK_/)
    await keys.add('two')
    expect(await play()).toBe(key.hex)
  })

  it('takes the word of the server that a content key is revoked over its cache', async () => {
    const { play, key, release, engineOn } = await world()
    expect(await play()).toBe(key.hex)
    const next = contentKey(5)
    await release('two', [{ ...key.entry, status: 'revoked' }, next.entry])
    expect(await play(engineOn(), false)).toBe('RK_KEY_ID_UNKNOWN')
  })
})

describe('the runtime key from a release server, access for devices', () => {
  it('reaches a listed machine alone, and striking it ends that at once, whatever is cached', async () => {
    const { play, key, client, device } = await world('devices')
    expect(await play()).toBe('RK_REFUSED')
    const { key: name } = await device.name()
    expect(await play()).toBe('RK_REFUSED')
    await client.addDevice('metin2', name, 'my machine')
    expect(await play()).toBe(key.hex)
    await client.removeDevice('metin2', name)
    expect(await play()).toBe('RK_REFUSED')
  })

  it('reaches a machine that a listed identity attests by its did:key', async () => {
    const { play, key, client, device } = await world('devices')
    const { did, key: name } = await device.name()
    const { state, prefix, message } = await incept(
      { keys: [ed25519PublicKey(seedOf('guild 0'))], nextKeys: [ed25519PublicKey(seedOf('guild 1'))] },
      seedSigner([seedOf('guild 0')]),
    )
    const document = utf8Encode(
      JSON.stringify({
        type: 'keyturn.device',
        schema: 1,
        identity: prefix,
        did,
        name: 'my machine',
        status: 'linked',
        at: '2025-11-21T08:00:00.000Z',
        note: '',
      }),
    )
    const statement = await signStatement(
      state,
      { purpose: 'device', sha256: sha256(document), claimedAtMs: Date.now() },
      seedSigner([seedOf('guild 0')]),
    )
    await client.putAttester('metin2', prefix, message, 'guild')
    expect(await play()).toBe('RK_REFUSED')
    expect(await client.attestDevice('metin2', { prefix, document, statement })).toMatchObject({
      key: name,
      status: 'linked',
    })
    expect(await play()).toBe(key.hex)
    await client.removeAttester('metin2', prefix)
    expect(await play()).toBe('RK_REFUSED')
  })

  it('names a machine once, in a file of this user outside the install', async () => {
    const file = join(await temporaryFolder(), 'deep', 'device.key')
    const device = new DeviceKey(nodeFileSystem, file)
    expect(await device.secret()).toBeUndefined()
    const name = await device.name()
    expect(await device.name()).toEqual(name)
    expect(hexEncode(x25519PublicKey((await device.secret()) as Uint8Array))).toBe(name.key)
    expect(name.did).toBe(didKey(ed25519PublicKey(new Uint8Array(await readFile(file)))))
    expect(await readFile(file).then((bytes) => bytes.length)).toBe(32)
  })
})
