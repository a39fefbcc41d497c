import { collectReceipts, discoverWitness, incept, interact, rotate, seedSigner, verifyLog } from '@keyturn/kel'
import { concatBytes, ed25519PublicKey } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { seedOf } from './publisher.ts'
import { startServer } from './support.ts'

const key = (name: string) => ed25519PublicKey(seedOf(name))

describe('POST /witness/receipts', () => {
  it('receipts complete a log that demands them, and only the first event of a place gets one', async () => {
    const { url } = await startServer({ vault: { passphrase: 'x', scryptLogN: 4 } })
    const { prefix } = await (await fetch(`${url}/witness`)).json() as { prefix: string }
    const witnesses = [prefix]
    const post = (body: Uint8Array) => fetch(`${url}/witness/receipts`, { method: 'POST', headers: { 'content-type': 'application/cesr' }, body: body as Uint8Array<ArrayBuffer> })
    const first = await incept({ keys: [key('w0')], nextKeys: [key('w1')], witnesses, witnessThreshold: 1 }, seedSigner([seedOf('w0')]))
    expect(() => verifyLog(first.message)).toThrow(expect.objectContaining({ code: 'KEL_WITNESS' }))
    const receipts = new Uint8Array(await (await post(first.message)).arrayBuffer())
    const log = concatBytes(first.message, receipts)
    expect(verifyLog(log).state.sn).toBe(0)
    const second = await interact(first.state, [], seedSigner([seedOf('w0')]))
    const more = new Uint8Array(await (await post(concatBytes(log, second.message))).arrayBuffer())
    const whole = concatBytes(log, second.message, more)
    expect(verifyLog(whole).state.sn).toBe(1)
    const rival = await interact(first.state, [{ d: first.said }] as never, seedSigner([seedOf('w0')]))
    const refused = await post(concatBytes(log, rival.message))
    expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([409, 'KEL_DUPLICITY'])
    const turned = await rotate(first.state, { keys: [key('w1')], nextKeys: [key('w2')] }, seedSigner([seedOf('w1')]))
    expect((await post(concatBytes(log, turned.message))).status).toBe(200)
    const third = await interact(second.state, [], seedSigner([seedOf('w0')]))
    expect((await post(concatBytes(log, third.message))).status).toBe(202)
    const place = (sn: number) => fetch(`${url}/witness/receipts?pre=${first.prefix}&sn=${sn}`)
    expect(new Uint8Array(await (await place(0)).arrayBuffer())).toEqual(receipts)
    const client = await discoverWitness(`${url}/witness`)
    expect(await client.find({ prefix: first.prefix, sn: 0 })).toEqual(receipts)
    expect(await collectReceipts(rival, [client], undefined, { log })).toMatchObject({ satisfied: false, answers: [{ code: 'KEL_DUPLICITY' }] })
    expect([(await place(9)).status, (await fetch(`${url}/witness/receipts?pre=x&sn=0`)).status]).toEqual([404, 400])
    expect((await post(new Uint8Array([1, 2, 3]))).status).toBeGreaterThanOrEqual(400)
  })
})
