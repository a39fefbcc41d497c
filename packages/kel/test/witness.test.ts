import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { concatBytes } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { Kel, memoryStore, verifyLog } from '../src/index.ts'
import { incept, interact, rotate, seedSigner } from '../src/owner/index.ts'
import { collectReceipts, discoverWitness, httpWitness, localWitness, writeReceipt } from '../src/witness/index.ts'
import type { SignedEvent } from '../src/owner/index.ts'
import type { Witness } from '../src/witness/index.ts'
import { fileStore } from '../src/node/index.ts'
import { key, seed, signer } from './support/actors.ts'
import { serveWitness } from './support/witness-server.ts'

const code = (name: string): unknown => expect.objectContaining({ code: name })
const witness = (n: number): Witness => localWitness(signer(n), memoryStore())

function start(witnesses: readonly Witness[], witnessThreshold: number): Promise<SignedEvent> {
  return incept(
    { keys: [key(0)], nextKeys: [key(1)], witnesses: witnesses.map(({ prefix }) => prefix), witnessThreshold },
    signer(0),
  )
}

const silent: Witness = {
  ...witness(99),
  prefix: witness(99).prefix,
  submit: async () => {
    throw new Error('no route')
  },
  find: async () => undefined,
}

describe('localWitness()', () => {
  it('pauses while it verifies a log, whether it is new, known or stored', async () => {
    let pauses = 0
    const store = memoryStore()
    const options = { pause: async (): Promise<void> => void pauses++ }
    const patient = localWitness(signer(90), store, options)
    const messages = [await start([patient], 1)]
    while (messages.length < 60) messages.push(await interact((messages.at(-1) as SignedEvent).state, [], signer(0)))
    const log = concatBytes(...messages.map(({ message }) => message))
    for (const each of [patient, patient, localWitness(signer(90), store, options)]) {
      pauses = 0
      expect(await each.submit(log)).toBeDefined()
      expect(pauses).toBeGreaterThan(60)
    }
  })
})

describe('collectReceipts()', () => {
  it('threshold met: the log stands; not met: the event waits in escrow (KEL_WITNESS) (row 133)', async () => {
    const all = [witness(90), witness(91), silent]
    const event = await start(all, 2)
    const few = await collectReceipts(event, [all[0]!, silent])
    expect(few).toMatchObject({
      satisfied: false,
      threshold: 2,
      answers: [{ outcome: 'receipt' }, { outcome: 'unavailable', explanation: 'no route' }],
    })
    expect(() => verifyLog(few.message)).toThrow(code('KEL_WITNESS'))
    const kel = await Kel.open(memoryStore().log(event.prefix), event.prefix)
    expect((await kel.append(few.message)).outcome).toBe('waiting')
    expect(kel.waiting).toMatchObject([{ kind: 'partial-witness' }])
    const enough = await collectReceipts(event, all)
    expect(enough).toMatchObject({
      satisfied: true,
      answers: [{ outcome: 'receipt' }, { outcome: 'receipt' }, { outcome: 'unavailable' }],
    })
    expect(verifyLog(enough.message, { prefix: event.prefix }).state.sn).toBe(0)
    expect((await kel.append(enough.message)).outcome).toBe('accepted')
    expect(kel.witnessesOf(event.said).size).toBe(2)
  })

  it('one witness given twice counts and is asked once (row 133)', async () => {
    let asked = 0
    const one = witness(90)
    const counted: Witness = {
      prefix: one.prefix,
      find: (place) => one.find(place),
      submit: (log) => {
        asked += 1
        return one.submit(log)
      },
    }
    const event = await start([one, witness(91)], 2)
    const collected = await collectReceipts(event, [counted, counted])
    expect([asked, collected.satisfied, collected.answers.map(({ outcome }) => outcome)]).toEqual([
      1,
      false,
      ['receipt', 'repeated'],
    ])
  })

  it('a lying witness does not count: bad signature, receipt of another event, noise', async () => {
    const honest = witness(90)
    const event = await start([honest], 1)
    const bad = writeReceipt(event, honest.prefix, new Uint8Array(64))
    const other = writeReceipt(
      { ...event, said: event.said.replace(/.$/, 'A') },
      honest.prefix,
      await signer(90).sign(event.event, 0),
    )
    const foreign = writeReceipt(event, witness(91).prefix, await signer(91).sign(event.event, 0))
    for (const answer of [bad, other, foreign, new Uint8Array([1, 2, 3]), new Uint8Array(0)]) {
      const collected = await collectReceipts(event, [
        { prefix: honest.prefix, submit: async () => answer, find: async () => undefined },
      ])
      expect(collected).toMatchObject({ satisfied: false, answers: [{ outcome: 'invalid' }] })
      expect(collected.signatures.size).toBe(0)
    }
  })

  it('a removed witness gives no receipt any more, and one of its making is refused (row 133)', async () => {
    const [leaving, staying] = [witness(90), witness(91)]
    const first = await start([leaving, staying], 2)
    const log = (await collectReceipts(first, [leaving, staying])).message
    const turned = await rotate(
      first.state,
      { keys: [key(1)], nextKeys: [key(2)], removeWitnesses: [leaving.prefix], witnessThreshold: 1 },
      signer(1),
    )
    const collected = await collectReceipts(turned, [leaving, staying], undefined, { log })
    expect(collected).toMatchObject({ satisfied: true, answers: [{ outcome: 'stranger' }, { outcome: 'receipt' }] })
    expect(await leaving.submit(concatBytes(log, turned.message))).toBeUndefined()
    const kel = await Kel.open(memoryStore().log(first.prefix), first.prefix)
    await kel.append(log)
    await kel.append(collected.message)
    const forged = writeReceipt(turned, leaving.prefix, await signer(90).sign(turned.event, 0))
    await expect(kel.append(forged)).rejects.toThrow(code('KEL_WITNESS'))
  })
})

describe('localWitness()', () => {
  it('receipts what it saw first at a place and nothing else there, also after a restart', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'witness-'))
    try {
      const open = (): Witness => localWitness(seedSigner([seed(90)]), fileStore(folder))
      const event = await start([open(), witness(91)], 2)
      const collected = await collectReceipts(event, [open()])
      const [left, right] = await Promise.all([
        interact(event.state, [], signer(0)),
        interact(event.state, [{ d: event.said }], signer(0)),
      ])
      // The other witness has not signed: this one does not wait for it.
      expect((await collectReceipts(left, [open()], 1, { log: collected.message })).satisfied).toBe(true)
      const rival = await collectReceipts(right, [open()], 1, { log: collected.message })
      expect(rival.answers).toMatchObject([{ outcome: 'refused', code: 'KEL_DUPLICITY' }])
      expect(await fileStore(folder).log(event.prefix).duplicities()).toHaveLength(1)
      // A rotation recovers from the interaction.
      const recovery = await rotate(event.state, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))
      expect((await collectReceipts(recovery, [open()], 1, { log: collected.message })).satisfied).toBe(true)
      expect(await open().find({ prefix: event.prefix, sn: 0 })).toEqual(await open().submit(event.message))
      expect(await open().find({ prefix: event.prefix, sn: 7 })).toBeUndefined()
      expect(await open().find({ prefix: '../elsewhere', sn: 0 })).toBeUndefined()
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('of two rivals that come at once, one gets a receipt', async () => {
    const one = witness(90)
    const event = await start([one], 1)
    const { message: log } = await collectReceipts(event, [one])
    const rivals = await Promise.all(
      [{ d: event.said }, { d: event.prefix.replace(/.$/, 'A') }].map((seal) =>
        interact(event.state, [seal], signer(0)),
      ),
    )
    const answers = await Promise.all(
      rivals.map(async (rival) => (await collectReceipts(rival, [one], 1, { log })).satisfied),
    )
    expect(answers.toSorted()).toEqual([false, true])
  })

  it('holds what waits, refuses what is wrong, keeps no logs of strangers', async () => {
    const store = memoryStore()
    const one = localWitness(signer(90), store)
    const stranger = await incept({ keys: [key(0)], nextKeys: [key(1)] }, signer(0))
    await expect(one.submit(stranger.message)).rejects.toThrow(code('KEL_WITNESS'))
    await expect(one.submit(new Uint8Array(0))).rejects.toThrow(code('KEL_PARSE'))
    await expect(localWitness(signer(90), store, { maxBytes: 10 }).submit(stranger.message)).rejects.toThrow(
      code('KEL_LIMIT'),
    )
    expect(await store.list()).toEqual([])
    const event = await start([one], 1)
    const second = await interact(event.state, [], signer(0))
    await one.submit(event.message)
    const third = await interact(second.state, [], signer(0))
    expect(await one.submit(third.message)).toBeUndefined()
    expect((await collectReceipts(third, [one])).answers).toMatchObject([{ outcome: 'held' }])
    const tampered = second.message.slice()
    tampered[tampered.length - 5]! ^= 1
    await expect(one.submit(tampered)).rejects.toThrow()
  })
})

describe('httpWitness()', () => {
  it('real round trip: discovered, receipts fetched, refusals by their code', async () => {
    const served = witness(90)
    const { url, close } = await serveWitness(served)
    try {
      const client = await discoverWitness(url)
      expect(client.prefix).toBe(served.prefix)
      const event = await start([client], 1)
      const collected = await collectReceipts(event, [client])
      expect(verifyLog(collected.message).state.sn).toBe(0)
      expect(await client.find({ prefix: event.prefix, sn: 0 })).toEqual(
        await served.find({ prefix: event.prefix, sn: 0 }),
      )
      expect(await client.find({ prefix: event.prefix, sn: 1 })).toBeUndefined()
      const second = await interact(event.state, [], signer(0))
      const third = await interact(second.state, [], signer(0))
      expect(await client.submit(third.message)).toBeUndefined()
      expect((await collectReceipts(second, [client], undefined, { log: collected.message })).satisfied).toBe(true)
      const rival = await interact(event.state, [{ d: event.said }], signer(0))
      await expect(client.submit(rival.message)).rejects.toThrow(code('KEL_DUPLICITY'))
    } finally {
      close()
    }
  })

  it.each([
    [
      'no connection',
      async () => {
        throw new TypeError('fetch failed')
      },
      'KEL_UNAVAILABLE',
    ],
    ['an error page', async () => new Response('<html>', { status: 502 }), 'KEL_UNAVAILABLE'],
    ['a code of its own making', async () => new Response('{"code":"toString"}', { status: 400 }), 'KEL_UNAVAILABLE'],
    ['an endless answer', async () => new Response(new Uint8Array(2000)), 'KEL_LIMIT'],
  ] as const)('%s', async (_name, answer, expected) => {
    const client = httpWitness('http://witness.test/', witness(90).prefix, {
      fetch: answer as typeof fetch,
      maxBytes: 1000,
    })
    await expect(client.submit(new Uint8Array(1))).rejects.toThrow(code(expected))
    await expect(client.find({ prefix: 'x', sn: 0 })).rejects.toThrow(code(expected))
    await expect(
      discoverWitness('http://witness.test', { fetch: answer as typeof fetch, maxBytes: 1000 }),
    ).rejects.toThrow(code(expected))
  })
})

describe('localWitness() on long logs', () => {
  async function long(count: number, options: { maxNewEvents?: number } = {}) {
    let signed = 0
    let listed = 0
    const own = signer(90)
    const store = memoryStore()
    const counted = {
      publicKeys: own.publicKeys,
      sign: (message: Uint8Array, at: number) => {
        signed += 1
        return own.sign(message, at)
      },
    }
    const one = localWitness(
      counted,
      {
        log: (prefix) => store.log(prefix),
        list: () => {
          listed += 1
          return store.list()
        },
      },
      options,
    )
    const events = [await start([one], 1)]
    while (events.length < count) events.push(await interact(events.at(-1)!.state, [], signer(0)))
    const log = (from: number, to: number): Uint8Array =>
      concatBytes(...events.slice(from, to).map(({ message }) => message))
    const stored = async (): Promise<unknown> => (await store.log(events[0]!.prefix).read())?.version
    return { one, events, log, stored, counts: () => ({ signed, listed }) }
  }

  it('signs each event once, however often it is shown, and finds places without listing all identities', async () => {
    const { one, events, log, stored, counts } = await long(4)
    const receipts = await one.submit(log(0, 4))
    const version = await stored()
    expect(await one.submit(log(0, 4))).toEqual(receipts)
    expect(await one.find({ prefix: events[0]!.prefix, sn: 3 })).toEqual(receipts?.slice(-receipts.length / 4))
    expect(await one.find({ prefix: events[0]!.said.replace(/..$/, 'AA'), sn: 0 })).toBeUndefined()
    expect([counts(), await stored()]).toEqual([{ signed: 4, listed: 0 }, version])
  })

  it('refuses more new events at once than it takes, before it writes; the log may come in pieces', async () => {
    const { one, log, stored } = await long(4, { maxNewEvents: 2 })
    await expect(one.submit(log(0, 4))).rejects.toEqual(code('KEL_LIMIT'))
    expect(await stored()).toBeUndefined()
    expect(await one.submit(log(0, 2))).toBeDefined()
    expect((await one.submit(log(0, 4)))?.length).toBeGreaterThan(0)
  })
})
