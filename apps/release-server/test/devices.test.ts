import { didKey, incept, rotate, seedSigner, signStatement } from '@keyturn/kel'
import type { KeyState, SignedEvent } from '@keyturn/kel'
import { writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import { concatBytes, ed25519PublicKey, hexEncode, sha256, sha512, utf8Encode, x25519PublicKey } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { ReleaseServerClient } from '../src/client/index.ts'
import { keyAgreementOf } from '../src/noise/key-agreement.ts'
import { codeOf, world } from './noise-world.ts'
import { seedOf } from './publisher.ts'
import { someBytes } from './support.ts'

const key = (name: string) => ed25519PublicKey(seedOf(name))
const signer = (name: string) => seedSigner([seedOf(name)])

/** An identity that says which machines are its own, as `keyturn device link` does. */
async function attester(name = 'attester'): Promise<{ prefix: string; events: SignedEvent[]; log(): Uint8Array; turn(): Promise<void>; say(seed: Uint8Array, more?: object, state?: KeyState, by?: string): Promise<{ prefix: string; document: Uint8Array; statement: Uint8Array }> }> {
  const events = [await incept({ keys: [key(`${name} 0`)], nextKeys: [key(`${name} 1`)] }, signer(`${name} 0`))]
  const last = () => events.at(-1) as SignedEvent
  return {
    prefix: last().prefix, events,
    log: () => concatBytes(...events.map(({ message }) => message)),
    turn: async () => {
      const at = events.length
      events.push(await rotate(last().state, { keys: [key(`${name} ${at}`)], nextKeys: [key(`${name} ${at + 1}`)] }, signer(`${name} ${at}`)))
    },
    say: async (seed, more = {}, state = last().state, by = `${name} ${events.length - 1}`) => {
      const document = utf8Encode(JSON.stringify({
        type: 'keyturn.device', schema: 1, identity: last().prefix, did: didKey(ed25519PublicKey(seed)), name: 'my machine', status: 'linked', at: '2026-11-21T08:00:00.000Z', note: '', ...more,
      }))
      return { prefix: last().prefix, document, statement: await signStatement(state, { purpose: 'device', sha256: sha256(document), claimedAtMs: Date.now() }, signer(by)) }
    },
  }
}

async function devices() {
  const scene = await world('devices')
  await scene.client.putRuntimeKey('metin2', 4, writeRuntimeKeyBlob(scene.runtimeKey))
  const server = await scene.addDevice('server')
  await scene.announce()
  // The device's own Ed25519 seed, and the X25519 secret that belongs to it.
  const seed = someBytes(32)
  const secret = sha512(seed).slice(0, 32)
  const ask = async () => codeOf(await scene.exchange(server, {}, 'IK', secret))
  return { ...scene, server, seed, secret, ask }
}

describe('runtimeKeyAccess: devices', () => {
  it('only listed IK keys get one, NK never does, and striking one ends it at once', async () => {
    const { client, exchange, server, ask, secret } = await devices()
    const name = hexEncode(x25519PublicKey(secret))
    expect(codeOf(await exchange(server))).toBe('RK_REFUSED')
    expect(await ask()).toBe('RK_REFUSED')
    await client.addDevice('metin2', name, 'my machine')
    expect(await ask()).toBe('given')
    expect(await client.listDevices('metin2')).toEqual([{ key: name, by: 'operator', name: 'my machine', status: 'listed' }])
    await client.removeDevice('metin2', name)
    expect(await ask()).toBe('RK_REFUSED')
  })

  it('a device that a listed identity attests gets one, until the word is taken back', async () => {
    const { client, running, seed, ask } = await devices()
    const identity = await attester()
    const word = await identity.say(seed)
    const anonymous = new ReleaseServerClient(running.url, { retryPauseMs: 1 })
    await expect(anonymous.attestDevice('metin2', word)).rejects.toMatchObject({ status: 404, code: 'SRV_NOT_FOUND' })
    expect(await client.putAttester('metin2', identity.prefix, identity.log(), 'guild')).toMatchObject({ prefix: identity.prefix, sn: 0, note: 'guild' })
    expect(await anonymous.attestDevice('metin2', word)).toMatchObject({ status: 'linked', name: 'my machine', key: hexEncode(keyAgreementOf(ed25519PublicKey(seed))) })
    expect(await ask()).toBe('given')
    expect(await anonymous.attestDevice('metin2', await identity.say(seed, { status: 'revoked', at: '2026-11-21T09:00:00.000Z' }))).toMatchObject({ status: 'revoked' })
    expect(await ask()).toBe('RK_REFUSED')
    // The older word cannot be brought again, a newer one can.
    await expect(anonymous.attestDevice('metin2', word)).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
    await anonymous.attestDevice('metin2', await identity.say(seed, { at: '2026-11-21T10:00:00.000Z' }))
    expect(await ask()).toBe('given')
    expect(await client.listDevices('metin2')).toMatchObject([{ by: identity.prefix, status: 'linked' }])
  })

  it('a turn of the identity makes its links void; striking the identity or the device ends it whoever attests', async () => {
    const { client, seed, secret, ask } = await devices()
    const identity = await attester()
    await client.putAttester('metin2', identity.prefix, identity.log())
    const before = await identity.say(seed)
    await client.attestDevice('metin2', before)
    expect(await ask()).toBe('given')
    await identity.turn()
    await client.putAttester('metin2', identity.prefix, identity.log())
    expect(await ask()).toBe('RK_REFUSED')
    expect(await client.listDevices('metin2')).toMatchObject([{ status: 'void' }])
    await expect(client.attestDevice('metin2', before)).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
    await identity.turn()
    // The longer log may come with the word.
    await client.attestDevice('metin2', { ...await identity.say(seed, { at: '2026-11-22T08:00:00.000Z' }), log: identity.log() })
    expect((await client.listAttesters('metin2'))[0]?.sn).toBe(2)
    expect(await ask()).toBe('given')
    await client.removeDevice('metin2', hexEncode(x25519PublicKey(secret)))
    expect(await ask()).toBe('RK_REFUSED')
    await client.addDevice('metin2', hexEncode(x25519PublicKey(secret)))
    expect(await ask()).toBe('given')
    const other = someBytes(32)
    await client.attestDevice('metin2', await identity.say(other))
    await client.removeAttester('metin2', identity.prefix)
    expect((await client.listDevices('metin2')).find(({ by }) => by === identity.prefix)).toMatchObject({ status: 'void' })
  })

  it('refuses the release identity, forked and foreign logs, statements by other keys, about other things or of other devices', async () => {
    const { client, publisher, seed, ask } = await devices()
    const [first] = publisher.events
    await expect(client.putAttester('metin2', first?.prefix ?? '', publisher.log)).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
    const identity = await attester()
    const stranger = await attester('stranger')
    await expect(client.putAttester('metin2', identity.prefix, stranger.log())).rejects.toMatchObject({ code: expect.stringMatching(/^KEL_/) })
    await client.putAttester('metin2', identity.prefix, identity.log())
    const word = await identity.say(seed)
    const foreign = await stranger.say(seed)
    for (const broken of [
      { ...word, statement: foreign.statement },
      { ...word, document: foreign.document },
      { ...word, statement: word.statement.slice(0, -9) },
      { ...foreign, prefix: word.prefix },
      { ...word, log: stranger.log() },
    ]) await expect(client.attestDevice('metin2', broken)).rejects.toMatchObject({ code: expect.stringMatching(/^KEL_/) })
    const file = await signStatement((identity.events[0] as SignedEvent).state, { purpose: 'file', sha256: sha256(word.document), claimedAtMs: 0 }, signer('attester 0'))
    await expect(client.attestDevice('metin2', { ...word, statement: file })).rejects.toMatchObject({ code: 'KEL_STATEMENT' })
    expect(await ask()).toBe('RK_REFUSED')
    const fork = await attester('attester')
    await identity.turn()
    fork.events.push(await rotate((fork.events[0] as SignedEvent).state, { keys: [key('attester 1')], nextKeys: [key('elsewhere')] }, signer('attester 1')))
    await client.putAttester('metin2', identity.prefix, identity.log())
    await expect(client.putAttester('metin2', identity.prefix, fork.log())).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
  })

  it('keyAgreementOf() is the public key of the X25519 secret that belongs to the Ed25519 seed', () => {
    for (let round = 0; round < 20; round++) {
      const seed = someBytes(32)
      expect(hexEncode(keyAgreementOf(ed25519PublicKey(seed)))).toBe(hexEncode(x25519PublicKey(sha512(seed).slice(0, 32))))
    }
  })
})
