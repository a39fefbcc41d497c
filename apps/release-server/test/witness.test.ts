import { KelError, verifyLog } from '@keyturn/kel'
import { incept, interact, rotate, seedSigner } from '@keyturn/kel/owner'
import { collectReceipts, discoverWitness } from '@keyturn/kel/witness'
import type { SignedEvent } from '@keyturn/kel/owner'
import { concatBytes, ed25519PublicKey } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import type { RateOptions } from '../src/access/rates.ts'
import { witnessLogs } from '../src/keys/witness-logs.ts'
import { Witness } from '../src/keys/witness.ts'
import { openServerVault } from '../src/keys/server-vault.ts'
import { seedOf } from './publisher.ts'
import { startServer } from './support.ts'

const key = (name: string) => ed25519PublicKey(seedOf(name))
const vault = { passphrase: 'x', scryptLogN: 4 }

async function world(rates: RateOptions = {}) {
  const running = await startServer({ vault, rates })
  const { url } = running
  const { prefix } = (await (await fetch(`${url}/witness`)).json()) as { prefix: string }
  const post = (body: Uint8Array) =>
    fetch(`${url}/witness/receipts`, {
      method: 'POST',
      headers: { 'content-type': 'application/cesr' },
      body: body as Uint8Array<ArrayBuffer>,
    })
  const place = (identity: string, sn: number) => fetch(`${url}/witness/receipts?pre=${identity}&sn=${sn}`)
  const bytes = async (answer: Promise<Response>) => new Uint8Array(await (await answer).arrayBuffer())
  const code = async (answer: Response) => [answer.status, ((await answer.json()) as { code: string }).code]
  return { ...running, prefix, post, place, bytes, code }
}

describe('POST /witness/receipts', () => {
  it('receipts complete a log that demands them, and only the first event of a place gets one', async () => {
    const { prefix, post, place, bytes, code, url } = await world()
    const first = await incept(
      { keys: [key('w0')], nextKeys: [key('w1')], witnesses: [prefix], witnessThreshold: 1 },
      seedSigner([seedOf('w0')]),
    )
    expect(() => verifyLog(first.message)).toThrow(expect.objectContaining({ code: 'KEL_WITNESS' }))
    const receipts = await bytes(post(first.message))
    const log = concatBytes(first.message, receipts)
    expect(verifyLog(log).state.sn).toBe(0)
    const second = await interact(first.state, [], seedSigner([seedOf('w0')]))
    const more = await bytes(post(concatBytes(log, second.message)))
    const whole = concatBytes(log, second.message, more)
    expect(verifyLog(whole).state.sn).toBe(1)
    const rival = await interact(first.state, [{ d: first.said }] as never, seedSigner([seedOf('w0')]))
    expect(await code(await post(concatBytes(log, rival.message)))).toEqual([409, 'KEL_DUPLICITY'])
    // A rotation may take the place of an interaction; the displaced one stays displaced.
    const turned = await rotate(first.state, { keys: [key('w1')], nextKeys: [key('w2')] }, seedSigner([seedOf('w1')]))
    const recovered = concatBytes(log, turned.message, await bytes(post(concatBytes(log, turned.message))))
    expect(verifyLog(recovered).state.sn).toBe(1)
    const client = await discoverWitness(`${url}/witness`)
    expect(await client.find({ prefix: first.prefix, sn: 0 })).toEqual(receipts)
    expect(await collectReceipts(rival, [client], undefined, { log })).toMatchObject({
      satisfied: false,
      answers: [{ code: 'KEL_DUPLICITY' }],
    })
    expect([(await place(first.prefix, 9)).status, (await place('x', 0)).status]).toEqual([404, 400])
    expect((await post(new Uint8Array([1, 2, 3]))).status).toBe(400)
  })

  it('gives receipts again for every place, earlier ones too, after the log went on', async () => {
    const { prefix, post, place, bytes } = await world()
    let last = await incept(
      { keys: [key('g0')], nextKeys: [key('g1')], witnesses: [prefix], witnessThreshold: 1 },
      seedSigner([seedOf('g0')]),
    )
    const identity = last.prefix
    const given = [await bytes(post(last.message))]
    let log = concatBytes(last.message, given[0] as Uint8Array)
    for (let sn = 1; sn < 5; sn++) {
      last =
        sn === 3
          ? await rotate(last.state, { keys: [key('g1')], nextKeys: [key('g2')] }, seedSigner([seedOf('g1')]))
          : await interact(last.state, [], seedSigner([seedOf(sn < 3 ? 'g0' : 'g1')]))
      const all = await bytes(post(concatBytes(log, last.message)))
      // Every event that was shown is receipted again; the newest comes last.
      const newest = await bytes(place(identity, sn))
      expect(all.slice(-newest.length)).toEqual(newest)
      given.push(newest)
      log = concatBytes(log, last.message, newest)
    }
    for (const [sn, receipt] of given.entries()) expect([sn, await bytes(place(identity, sn))]).toEqual([sn, receipt])
  })

  it('refuses logs that do not name it and stores none of them; gives no receipt for an event that waits', async () => {
    const { prefix, post, code, server, place, bytes } = await world()
    const stranger = await incept({ keys: [key('s0')], nextKeys: [key('s1')] }, seedSigner([seedOf('s0')]))
    expect(await code(await post(stranger.message))).toEqual([422, 'KEL_WITNESS'])
    expect(await server.context.metadata.list('witness-logs')).toEqual([])
    expect((await place(stranger.prefix, 0)).status).toBe(404)
    // Named at first and dropped later: what comes after that is not its to receipt.
    const first = await incept(
      { keys: [key('d0')], nextKeys: [key('d1')], witnesses: [prefix], witnessThreshold: 1 },
      seedSigner([seedOf('d0')]),
    )
    const log = concatBytes(first.message, await bytes(post(first.message)))
    const dropped = await rotate(
      first.state,
      { keys: [key('d1')], nextKeys: [key('d2')], removeWitnesses: [prefix], witnessThreshold: 0 },
      seedSigner([seedOf('d1')]),
    )
    expect(await bytes(post(concatBytes(log, dropped.message)))).toEqual(await bytes(place(first.prefix, 0)))
    expect((await place(first.prefix, 1)).status).toBe(404)
    const waits = await incept(
      { keys: [key('q0')], nextKeys: [key('q1')], witnesses: [prefix], witnessThreshold: 1 },
      seedSigner([seedOf('q0')]),
    )
    expect((await post(waits.message)).status).toBe(200)
    const later = await interact(
      (await interact(waits.state, [], seedSigner([seedOf('q0')]))).state,
      [],
      seedSigner([seedOf('q0')]),
    )
    expect((await post(concatBytes(waits.message, later.message))).status).toBe(202)
  })

  it('stands by receipts that it gave before its logs had their current form', async () => {
    const { prefix, post, code, bytes, server } = await world()
    const first = await incept(
      { keys: [key('u0')], nextKeys: [key('u1')], witnesses: [prefix], witnessThreshold: 1 },
      seedSigner([seedOf('u0')]),
    )
    const [one, other] = await Promise.all(
      [[], [{ d: first.said }]].map((seals) => interact(first.state, seals as never, seedSigner([seedOf('u0')]))),
    )
    for (const [sn, { said }] of [first, one as typeof first].entries()) {
      await server.context.metadata.transaction([], (records) =>
        records.put('witnessed', {
          key: `${first.prefix}/${String(sn).padStart(16, '0')}`,
          value: { said, type: sn === 0 ? 'icp' : 'ixn' },
        }),
      )
    }
    expect(await code(await post(concatBytes(first.message, other?.message ?? first.message)))).toEqual([
      409,
      'KEL_DUPLICITY',
    ])
    expect((await bytes(post(concatBytes(first.message, one?.message ?? first.message)))).length).toBeGreaterThan(0)
    const turned = await rotate(first.state, { keys: [key('u1')], nextKeys: [key('u2')] }, seedSigner([seedOf('u1')]))
    expect((await post(concatBytes(first.message, turned.message))).status).toBe(200)
  })

  it('limits what one caller may cost: events in a request, and bytes in a minute', async () => {
    const { prefix, post, code, server } = await world({ witnessPerMinute: 20 })
    const events = [
      await incept(
        { keys: [key('l0')], nextKeys: [key('l1')], witnesses: [prefix], witnessThreshold: 1 },
        seedSigner([seedOf('l0')]),
      ),
    ]
    while (events.length <= 500)
      events.push(await interact((events.at(-1) as SignedEvent).state, [], seedSigner([seedOf('l0')])))
    // An identity of a product here: logs of others are not even read that far.
    await server.context.metadata.transaction([], (records) =>
      records.put('products', {
        key: 'ours',
        value: {
          slug: 'ours',
          name: 'ours',
          pin: `did:keri:${events[0]?.prefix}?sn=0&said=${events[0]?.said}`,
          default_channel: 'stable',
          is_default: false,
          runtime_key_access: 'open',
          created_at: '2026-01-01T00:00:00Z',
        },
      }),
    )
    expect(await code(await post(concatBytes(...events.map(({ message }) => message))))).toEqual([400, 'KEL_LIMIT'])
    expect(await server.context.metadata.list('witness-logs')).toEqual([])
    // A body counts once for every 64 KiB, and the log above was some of them: the second call is one too many.
    for (const [status, name] of [
      [413, 'SRV_LIMIT'],
      [429, 'SRV_RATE'],
    ] as const) {
      expect(await code(await post(new Uint8Array(768 * 1024)))).toEqual([status, name])
    }
  })

  it('is one witness on all replicas: of two rivals at the same time, one gets its receipt', async () => {
    const { prefix, server } = await world()
    const { context } = server
    const replicas = await Promise.all(
      [0, 1].map(async () => new Witness(context, await openServerVault(context.metadata, vault, context.random))),
    )
    expect(await Promise.all(replicas.map((witness) => witness.prefix()))).toEqual([prefix, prefix])
    const first = await incept(
      { keys: [key('r0')], nextKeys: [key('r1')], witnesses: [prefix], witnessThreshold: 1 },
      seedSigner([seedOf('r0')]),
    )
    const log = concatBytes(first.message, (await replicas[0]?.receipts(first.message)) as Uint8Array)
    const rivals = await Promise.all(
      [[], [{ d: first.said }]].map((seals) => interact(first.state, seals as never, seedSigner([seedOf('r0')]))),
    )
    const answers = await Promise.allSettled(
      rivals.map((rival, at) => (replicas[at] as Witness).receipts(concatBytes(log, rival.message))),
    )
    expect(answers.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(answers.find((answer) => answer.status === 'rejected')?.reason).toMatchObject({ code: 'KEL_DUPLICITY' })
    expect(await witnessLogs(context.metadata).log(first.prefix).duplicities()).toHaveLength(1)
    await expect(
      witnessLogs(context.metadata)
        .log(first.prefix)
        .append(
          { said: 'x', sn: 0, type: 'rct', message: new Uint8Array(1), firstSeen: 0, seenAtMs: 0, source: 'local' },
          '0',
        ),
    ).rejects.toThrow(KelError)
  })
})
