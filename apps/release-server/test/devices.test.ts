import { didKey } from '@keyturn/kel'
import { incept, rotate, seedSigner, signStatement } from '@keyturn/kel/owner'
import type { KeyState } from '@keyturn/kel'
import type { SignedEvent } from '@keyturn/kel/owner'
import { writeRuntimeKeyBlob } from '@keyturn/runtime-key'
import {
  base64Encode,
  concatBytes,
  ed25519PublicKey,
  hexEncode,
  sha256,
  sha512,
  utf8Encode,
  x25519PublicKey,
} from '@keyturn/primitives'
import { describe, expect, it, vi } from 'vitest'
import { ReleaseServerClient } from '@keyturn/release-client'
import { keyAgreementOf } from '../src/keys/key-agreement.ts'
import { codeOf, world } from './noise-world.ts'
import { seedOf } from './publisher.ts'
import { someBytes } from './support.ts'

const key = (name: string) => ed25519PublicKey(seedOf(name))
const signer = (name: string) => seedSigner([seedOf(name)])
/** A time some minutes ago. */
const ago = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString()

/** An identity that says which machines are its own, as `keyturn device link` does. */
async function attester(name = 'attester'): Promise<{
  prefix: string
  events: SignedEvent[]
  log(): Uint8Array
  turn(): Promise<void>
  say(
    seed: Uint8Array,
    more?: object,
    state?: KeyState,
    by?: string,
  ): Promise<{ prefix: string; document: Uint8Array; statement: Uint8Array }>
}> {
  const events = [await incept({ keys: [key(`${name} 0`)], nextKeys: [key(`${name} 1`)] }, signer(`${name} 0`))]
  const last = () => events.at(-1) as SignedEvent
  return {
    prefix: last().prefix,
    events,
    log: () => concatBytes(...events.map(({ message }) => message)),
    turn: async () => {
      const at = events.length
      events.push(
        await rotate(
          last().state,
          { keys: [key(`${name} ${at}`)], nextKeys: [key(`${name} ${at + 1}`)] },
          signer(`${name} ${at}`),
        ),
      )
    },
    say: async (seed, more = {}, state = last().state, by = `${name} ${events.length - 1}`) => {
      const document = utf8Encode(
        JSON.stringify({
          type: 'keyturn.device',
          schema: 1,
          identity: last().prefix,
          did: didKey(ed25519PublicKey(seed)),
          name: 'my machine',
          status: 'linked',
          at: ago(60),
          note: '',
          ...more,
        }),
      )
      return {
        prefix: last().prefix,
        document,
        statement: await signStatement(
          state,
          { purpose: 'device', sha256: sha256(document), claimedAtMs: Date.now() },
          signer(by),
        ),
      }
    },
  }
}

async function devices(options: Parameters<typeof world>[1] = {}) {
  const scene = await world('devices', options)
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
  it('only listed IK keys get a runtime key, NK never does, and removing one ends it at once', async () => {
    const { client, exchange, server, ask, secret } = await devices()
    const name = hexEncode(x25519PublicKey(secret))
    expect(codeOf(await exchange(server))).toBe('RK_REFUSED')
    expect(await ask()).toBe('RK_REFUSED')
    await client.addDevice('metin2', name, 'my machine')
    expect(await ask()).toBe('given')
    expect(await client.listDevices('metin2')).toEqual([
      { key: name, by: 'operator', name: 'my machine', status: 'listed' },
    ])
    await client.removeDevice('metin2', name)
    expect(await ask()).toBe('RK_REFUSED')
  })

  it('a device that a listed identity attests gets one, until the attestation is revoked', async () => {
    const { client, running, seed, ask } = await devices()
    const identity = await attester()
    const word = await identity.say(seed)
    const anonymous = new ReleaseServerClient(running.url, { retryPauseMs: 1 })
    await expect(anonymous.attestDevice('metin2', word)).rejects.toMatchObject({ status: 404, code: 'SRV_NOT_FOUND' })
    expect(await client.putAttester('metin2', identity.prefix, identity.log(), 'guild')).toMatchObject({
      prefix: identity.prefix,
      sn: 0,
      note: 'guild',
    })
    expect(await anonymous.attestDevice('metin2', word)).toMatchObject({
      status: 'linked',
      name: 'my machine',
      key: hexEncode(keyAgreementOf(ed25519PublicKey(seed))),
    })
    expect(await ask()).toBe('given')
    expect(
      await anonymous.attestDevice('metin2', await identity.say(seed, { status: 'revoked', at: ago(50) })),
    ).toMatchObject({ status: 'revoked' })
    expect(await ask()).toBe('RK_REFUSED')
    // The older word cannot be brought again, a newer one can.
    await expect(anonymous.attestDevice('metin2', word)).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
    await anonymous.attestDevice('metin2', await identity.say(seed, { at: ago(40) }))
    expect(await ask()).toBe('given')
    expect(await client.listDevices('metin2')).toMatchObject([{ by: identity.prefix, status: 'linked' }])
  })

  it('a rotation of the identity voids its links; removing the identity or the device ends access no matter who attests', async () => {
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
    await client.attestDevice('metin2', { ...(await identity.say(seed, { at: ago(30) })), log: identity.log() })
    expect((await client.listAttesters('metin2'))[0]?.sn).toBe(2)
    expect(await ask()).toBe('given')
    await client.removeDevice('metin2', hexEncode(x25519PublicKey(secret)))
    expect(await ask()).toBe('RK_REFUSED')
    await client.addDevice('metin2', hexEncode(x25519PublicKey(secret)))
    expect(await ask()).toBe('given')
    const other = someBytes(32)
    await client.attestDevice('metin2', await identity.say(other))
    await client.removeAttester('metin2', identity.prefix)
    expect((await client.listDevices('metin2')).find(({ by }) => by === identity.prefix)).toMatchObject({
      status: 'void',
    })
  })

  it('refuses the release identity, forked and foreign logs, statements by other keys, about other things or of other devices', async () => {
    const { client, publisher, seed, ask } = await devices()
    const [first] = publisher.events
    await expect(client.putAttester('metin2', first?.prefix ?? '', publisher.log)).rejects.toMatchObject({
      code: 'SRV_CONFLICT',
    })
    const identity = await attester()
    const stranger = await attester('stranger')
    await expect(client.putAttester('metin2', identity.prefix, stranger.log())).rejects.toMatchObject({
      code: expect.stringMatching(/^KEL_/),
    })
    await client.putAttester('metin2', identity.prefix, identity.log())
    const word = await identity.say(seed)
    const foreign = await stranger.say(seed)
    for (const broken of [
      { ...word, statement: foreign.statement },
      { ...word, document: foreign.document },
      { ...word, statement: word.statement.slice(0, -9) },
      { ...foreign, prefix: word.prefix },
      { ...word, log: stranger.log() },
    ])
      await expect(client.attestDevice('metin2', broken)).rejects.toMatchObject({
        code: expect.stringMatching(/^KEL_/),
      })
    const file = await signStatement(
      (identity.events[0] as SignedEvent).state,
      { purpose: 'file', sha256: sha256(word.document), claimedAtMs: 0 },
      signer('attester 0'),
    )
    await expect(client.attestDevice('metin2', { ...word, statement: file })).rejects.toMatchObject({
      code: 'KEL_STATEMENT',
    })
    expect(await ask()).toBe('RK_REFUSED')
    const fork = await attester('attester')
    await identity.turn()
    fork.events.push(
      await rotate(
        (fork.events[0] as SignedEvent).state,
        { keys: [key('attester 1')], nextKeys: [key('elsewhere')] },
        signer('attester 1'),
      ),
    )
    await client.putAttester('metin2', identity.prefix, identity.log())
    await expect(client.putAttester('metin2', identity.prefix, fork.log())).rejects.toMatchObject({
      code: 'SRV_CONFLICT',
    })
  })

  it('what a thief of the keys stated no longer counts once they are rotated, and nothing from the future is accepted', async () => {
    const { client, seed, ask } = await devices()
    const identity = await attester()
    await client.putAttester('metin2', identity.prefix, identity.log())
    for (const at of ['9999-12-31T23:59:59.000Z', ago(-6)]) {
      await expect(
        client.attestDevice('metin2', await identity.say(seed, { status: 'revoked', at })),
      ).rejects.toMatchObject({ code: 'SRV_CONFLICT' })
    }
    await client.attestDevice('metin2', await identity.say(seed, { status: 'revoked', at: ago(-4) }))
    await identity.turn()
    await client.attestDevice('metin2', { ...(await identity.say(seed, { at: ago(1) })), log: identity.log() })
    expect(await ask()).toBe('given')
  })

  it('an attestation that is sent again changes nothing and leaves no trace; long and unprintable ones are refused', async () => {
    const { client, running, seed } = await devices()
    const identity = await attester()
    await client.putAttester('metin2', identity.prefix, identity.log())
    const word = await identity.say(seed)
    const again = {
      ...(await identity.say(seed, { at: JSON.parse(new TextDecoder().decode(word.document)).at })),
      log: identity.log(),
    }
    await client.attestDevice('metin2', word)
    const whole = await client.audit({ limit: 1000 })
    const anonymous = new ReleaseServerClient(running.url, { retryPauseMs: 1 })
    for (const each of [word, again, word])
      expect(await anonymous.attestDevice('metin2', each)).toMatchObject({ status: 'linked', name: 'my machine' })
    expect(await client.audit({ limit: 1000 })).toEqual(whole)
    for (const name of ['x'.repeat(121), 'a\u001b]0;b', 'a\u202eb', 'a\nb']) {
      await expect(
        anonymous.attestDevice('metin2', await identity.say(seed, { at: ago(1), name })),
      ).rejects.toMatchObject({ code: 'SRV_REQUEST' })
    }
    await expect(
      anonymous.attestDevice('metin2', await identity.say(seed, { at: ago(1), note: 'x'.repeat(9000) })),
    ).rejects.toMatchObject({ status: 400 })
    await anonymous.attestDevice(
      'metin2',
      await identity.say(seed, { at: ago(1), name: 'L\u00fcks \u{1f469}\u200d\u{1f680}' }),
    )
  })

  it('decodes no log for an identity that is not listed', async () => {
    const { running, seed } = await devices()
    const word = await (await attester()).say(seed)
    const answer = await fetch(`${running.url}/v1/products/metin2/devices:attest`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        prefix: word.prefix,
        document: base64Encode(word.document),
        statement: base64Encode(word.statement),
        // Fits the pattern of base64, but is none: reading it would be a 400.
        log: 'A',
      }),
    })
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([404, 'SRV_NOT_FOUND'])
  })

  it('locks nothing for a statement that does not verify, and takes no more than a budget of all callers', async () => {
    const { client, running, seed } = await devices({ rates: { witnessPerMinute: 2, trustProxy: true } })
    const identity = await attester()
    await client.putAttester('metin2', identity.prefix, identity.log(), 'guild')
    const word = await identity.say(seed)
    const post = (address: string, more: object = {}) =>
      fetch(`${running.url}/v1/products/metin2/devices:attest`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': address },
        body: JSON.stringify({
          prefix: word.prefix,
          document: base64Encode(word.document),
          statement: base64Encode(word.document),
          ...more,
        }),
      })
    const transaction = vi.spyOn(running.server.context.metadata, 'transaction')
    expect((await post('10.0.0.1')).status).toBe(400)
    expect(transaction).not.toHaveBeenCalled()
    const statuses: number[] = []
    for (let at = 2; at <= 17; at++) statuses.push((await post(`10.0.0.${at}`)).status)
    expect([statuses.at(-2), statuses.at(-1)]).toEqual([400, 429])
    // What devices say uses up nothing of telemetry or of the witness.
    const report = await fetch(`${running.url}/v1/reports`, {
      method: 'POST',
      headers: { 'x-forwarded-for': '1.1.1.1' },
    })
    expect(report.status).not.toBe(429)
  })

  it('a log that is known under one prefix is not accepted under another', async () => {
    const { client } = await devices()
    const [known, fresh] = [await attester('known'), await attester('fresh')]
    await client.putAttester('metin2', known.prefix, known.log())
    await expect(client.putAttester('metin2', fresh.prefix, known.log())).rejects.toMatchObject({
      code: expect.stringMatching(/^KEL_/),
    })
    expect((await client.listAttesters('metin2')).map(({ prefix }) => prefix)).toEqual([known.prefix])
  })

  it('keyAgreementOf() is the public key of the X25519 secret that belongs to the Ed25519 seed', () => {
    for (let round = 0; round < 20; round++) {
      const seed = someBytes(32)
      expect(hexEncode(keyAgreementOf(ed25519PublicKey(seed)))).toBe(
        hexEncode(x25519PublicKey(sha512(seed).slice(0, 32))),
      )
    }
  })
})
