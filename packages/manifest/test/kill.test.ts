import { describe, expect, it } from 'vitest'
import { dssePae, ed25519Sign, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { verifyInstalled, verifyRelease } from '../src/index.ts'
import { findKills, formatKill, parseKill, readKills, signKill, writeKills } from '../src/kill/index.ts'
import { payloadTypes } from '../src/publish/index.ts'
import { keyId, options, Publisher, seedOf, signerOf } from './support/publisher.ts'

const ISSUED = '2026-11-21T03:00:00Z'
const code = (name: string): unknown => expect.objectContaining({ code: name })

async function noticeOf(name: string, product = 'metin2'): Promise<Uint8Array> {
  return await signKill({ product, issuedAt: ISSUED }, signerOf(name))
}

async function killsOf(...names: string[]): Promise<Uint8Array> {
  return writeKills(await Promise.all(names.map(async (name) => parseKill(await noticeOf(name)))))
}

describe('a key that ends itself', () => {
  it.each(['release', 'head'] as const)(
    'the %s key signs its end: nothing new is installed, and what is installed plays',
    async (role) => {
      const publisher = await Publisher.create()
      const first = await publisher.release()
      const installed = verifyRelease(first, publisher.state(), options())
      const next = await publisher.release()
      const kills = await killsOf(`${role} 1`)
      const decision = verifyRelease({ ...next, kills }, installed.state, options())
      expect(decision).toMatchObject({
        outcome: 'refused',
        trust: 'stale',
        error: { code: 'MAN_KEY_KILLED' },
        document: role === 'head' ? 'head' : 'manifest',
        kills,
      })
      const { manifest, signatures, logs = [], roles } = first
      const kept = { manifest: manifest!, signatures: signatures!, log: logs[0]!, roles: roles!, newestRoles: roles! }
      expect(verifyInstalled(kept, decision.state)).toMatchObject({ playable: true })
    },
  )

  it('the thief cannot undo it: rubbish, other keys and later documents hide no notice', async () => {
    const publisher = await Publisher.create()
    const next = await publisher.release()
    const notice = await noticeOf('head 1')
    const list = JSON.parse(utf8Decode(await killsOf('head 1'))) as { kills: object[] }
    list.kills = [{}, { payloadType: 'x' }, { ...list.kills[0], sig: `${'A'.repeat(86)}==` }, ...list.kills]
    const dirty = utf8Encode(JSON.stringify(list))
    expect(readKills(dirty).map(({ notice: { key } }) => key)).toEqual([keyId('head 1')])
    const empty = utf8Encode('{"type":"keyturn.kills","schema":1,"kills":[]}')
    for (const kills of [dirty, [empty, dirty], [utf8Encode('not JSON'), writeKills([parseKill(notice)])]]) {
      expect(verifyRelease({ ...next, kills }, publisher.state(), options())).toMatchObject({
        outcome: 'refused',
        error: { code: 'MAN_KEY_KILLED' },
      })
    }
  })

  it('only a key ends itself: notices by others, of other products and of keys in no role change nothing', async () => {
    const publisher = await Publisher.create()
    const next = await publisher.release()
    const forged = JSON.parse(utf8Decode(await noticeOf('stranger'))) as { payload: string; sig: string }
    const payload = parseKill(await noticeOf('head 1')).payload
    const wrong = formatKill({
      payload,
      signature: ed25519Sign(seedOf('stranger'), dssePae(payloadTypes.kill, payload)),
    })
    expect(() => parseKill(wrong)).toThrow(code('MAN_KILL'))
    expect(() => parseKill(utf8Encode(JSON.stringify({ ...forged, payloadType: payloadTypes.head })))).toThrow(
      code('MAN_KILL'),
    )
    expect(() => parseKill(utf8Encode('[]'))).toThrow(code('MAN_KILL'))
    expect(() => parseKill(new Uint8Array(70_000))).toThrow(code('MAN_LIMIT'))
    const list = writeKills([parseKill(await noticeOf('stranger')), parseKill(await noticeOf('head 1', 'other'))])
    expect(findKills([list], publisher.roles)).toEqual({ keys: [], bytes: undefined })
    const decision = verifyRelease({ ...next, kills: list }, publisher.state(), options())
    expect(decision.outcome).toBe('accepted')
    expect(decision.kills).toBeUndefined()
  })

  it('the identity speaks: another key in force, and updates go on', async () => {
    const publisher = await Publisher.create()
    const { state } = verifyRelease(await publisher.release(), publisher.state(), options())
    const kills = await killsOf('release 1', 'head 1')
    await publisher.rotate(({ roles }) => ({
      roles: {
        release: { ...roles.release, keys: [keyId('release 2')] },
        head: { ...roles.head, keys: [keyId('head 2')] },
      },
    }))
    const next = await publisher.release({ signers: ['release 2'] }, { signers: ['head 2'] })
    expect(verifyRelease({ ...next, kills }, state, options())).toMatchObject({ outcome: 'accepted' })
  })
})
