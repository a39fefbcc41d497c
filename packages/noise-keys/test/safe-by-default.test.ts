import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { ed25519Sign, sha256, systemRandom, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { createTransportIdentity, memoryDirectory } from '../src/index.ts'
import { auditIdentity, Publisher as KeyPublisher } from '../src/owner/index.ts'
import { HandshakeState, noiseKeyPair, noiseProtocol } from '../src/noise/index.ts'
import { createRelayHandler, memoryPacketStore, RelayClient, txtRecord } from '../src/pkarr/index.ts'
import type { DnsRecord } from '../src/pkarr/index.ts'
import { Publisher } from './publisher.ts'

const seed = sha256(utf8Encode('cold identity'))
const identity = createTransportIdentity(() => seed.slice())

/** A relay, and a fetch that goes straight to it. */
function relay(): { handler: ReturnType<typeof createRelayHandler>; client: () => RelayClient } {
  const handler = createRelayHandler({ store: memoryPacketStore() })
  const fetch = async (input: string, init: RequestInit = {}): Promise<Response> => {
    const url = new URL(input)
    const { status, headers, body } = await handler({
      method: init.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      headers: Object.fromEntries(new Headers(init.headers)),
      ...(init.body === undefined || init.body === null ? {} : { body: init.body as Uint8Array }),
    })
    return new Response(body === undefined ? null : Uint8Array.from(body), { status, headers })
  }
  return { handler, client: () => new RelayClient({ relays: ['http://relay.test'], fetch }) }
}

const named = (records: readonly DnsRecord[]): string[] => records.map(({ name }) => name).toSorted()

describe('RelayClient against a relay that honours conditions', () => {
  it.each([true, false])(
    'update() loses nothing when another update comes in between (first packet there: %s)',
    async (there) => {
      const { client } = relay()
      const [a, b] = [client(), client()]
      const add = (name: string) => (records: readonly DnsRecord[]) => [...records, txtRecord(name, 'x', 300)]
      const update = (of: RelayClient, merge: (records: readonly DnsRecord[]) => readonly DnsRecord[]) =>
        of.update(identity, (bytes) => ed25519Sign(seed, bytes), merge)
      if (there) await update(a, add('_first'))
      let disturbed = false
      await b.update(
        identity,
        async (bytes) => {
          if (!disturbed) {
            disturbed = true
            await update(a, add('_of-a')) // after b has read, before it publishes
          }
          return ed25519Sign(seed, bytes)
        },
        add('_of-b'),
      )
      const packet = await client().resolve(identity, 'network')
      expect(named(packet?.records ?? [])).toEqual([...(there ? ['_first'] : []), '_of-a', '_of-b'].toSorted())
    },
  )
})

describe('HandshakeState with a psk of zeros', () => {
  it('refuses it, unless it is asked for', () => {
    const options = { role: 'initiator' as const, psks: [new Uint8Array(32)] }
    const name = 'Noise_NNpsk0_25519_ChaChaPoly_SHA256'
    expect(() => new HandshakeState(name, options)).toThrow(
      expect.objectContaining({ code: 'NK_KEY', hint: expect.any(String) }),
    )
    expect(new HandshakeState(name, { ...options, allowZeroPsk: true }).isComplete).toBe(false)
    expect(new HandshakeState(name, { ...options, psks: [systemRandom(32)] }).isComplete).toBe(false)
  })
})

it('a handshake refuses a static key whose secret was wiped meanwhile', async () => {
  const { seed: coldSeed, ...owner } = createTransportIdentity()
  const publisher = new KeyPublisher({
    identity: owner,
    directory: memoryDirectory(),
    withSeed: (use) => use(coldSeed),
    store: () => undefined,
  })
  await publisher.announce()
  const protocol = 'Noise_NK_25519_ChaChaPoly_SHA256'
  const { dh } = noiseProtocol(protocol)
  const wiped = await publisher.withSecret((secret) => noiseKeyPair(dh, secret))
  const refused = expect.objectContaining({ code: 'NK_KEY', message: 'The secret of staticKey was wiped' })
  expect(() => new HandshakeState(protocol, { role: 'responder', staticKey: wiped })).toThrow(refused)
  const copied = await publisher.withSecret((secret) => noiseKeyPair(dh, secret.slice()))
  expect(new HandshakeState(protocol, { role: 'responder', staticKey: copied }).isComplete).toBe(false)
})

it('createTransportIdentity() draws its own seed', () => {
  expect(createTransportIdentity().name).not.toBe(createTransportIdentity().name)
})

describe('auditIdentity()', () => {
  it('is content with a rotation whose fresh key was revoked and replaced at once', async () => {
    const publisher = new Publisher(memoryDirectory())
    publisher.add('server')
    await publisher.publish()
    publisher.announce()
    publisher.cutOver()
    await publisher.publish()
    publisher.nowS += 11
    publisher.revoke('server-v2')
    publisher.add('server-v3')
    await publisher.publish('revocation')
    const { findings } = await auditIdentity(publisher.identity, [publisher.directory], { nowS: publisher.nowS })
    expect(findings.filter(({ problem }) => problem === 'short-overlap' || problem === 'overlap-gap')).toEqual([])
  })
})

describe('a runtime whose crypto has no ChaCha20-Poly1305 (P3)', () => {
  it('seals and opens messages of every size, and what the usual runtime sealed', async () => {
    const script = `
      const crypto = require('node:crypto')
      for (const name of ['createCipheriv', 'createDecipheriv']) {
        const real = crypto[name]
        crypto[name] = (algorithm, ...rest) => {
          if (algorithm === 'chacha20-poly1305') throw Object.assign(new Error('Unknown cipher'), { code: 'ERR_CRYPTO_UNKNOWN_CIPHER' })
          return real(algorithm, ...rest)
        }
      }
      require('node:module').syncBuiltinESMExports()
      import(${JSON.stringify(import.meta.resolve('@keyturn/noise-keys/noise'))}).then(({ noiseProtocol }) => {
        const { cipher } = noiseProtocol('Noise_NN_25519_ChaChaPoly_SHA256')
        const key = new Uint8Array(32).fill(1)
        for (const size of [10, 2048, 4096, 65000]) {
          const sealed = cipher.seal(key, 0n, new Uint8Array(3), new Uint8Array(size).fill(7))
          if (cipher.open(key, 0n, new Uint8Array(3), sealed).length !== size) throw new Error('length')
          console.log(size + ' ' + crypto.createHash('sha256').update(sealed).digest('hex'))
        }
      })`
    const run = async (text: string): Promise<string> =>
      (await promisify(execFile)(process.execPath, ['--input-type=commonjs', '-e', text])).stdout
    const without = await run(script)
    const usual = await run(script.replace(/for \(const name of[\s\S]*?syncBuiltinESMExports\(\)/, ''))
    expect(without.trim().split('\n')).toHaveLength(4)
    expect(without).toBe(usual)
  })
})
