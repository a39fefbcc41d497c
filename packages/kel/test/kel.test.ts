import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { concatBytes } from '@keyturn/primitives'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { Kel, memoryStore, verifyLog } from '../src/index.ts'
import { rotate, interact } from '../src/owner/index.ts'
import type { KelStore, LogStorage } from '../src/index.ts'
import { fileLog, fileStore } from '../src/node/index.ts'
import { Actor, key, signer } from './support/actors.ts'
import { bytes, signifyVectors } from './support/vectors.ts'

const folders: string[] = []
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kel-'))
  folders.push(path)
  return path
}

const stores: readonly (readonly [string, () => Promise<KelStore>])[] = [
  ['memoryStore()', async () => memoryStore()],
  ['fileStore()', async () => fileStore(await folder())],
]

describe.each(stores)('Kel over %s', (_name, make) => {
  it('append() stores what stands, and open() reads it back', async () => {
    const store = await make()
    const actor = await Actor.start()
    await actor.interact({ d: actor.state.said })
    await actor.rotate()
    const kel = await Kel.open(store.log(actor.state.prefix), actor.state.prefix)
    expect(kel.isStarted).toBe(false)
    for (const message of actor.messages) expect((await kel.append(message)).outcome).toBe('accepted')
    expect((await kel.append(actor.messages[1]!)).outcome).toBe('known')
    expect(await store.list()).toEqual([actor.state.prefix])
    const again = await Kel.open(store.log(actor.state.prefix), actor.state.prefix)
    expect(again.state).toEqual(kel.state)
    expect(await again.export()).toEqual(actor.log)
    expect(again.keyStateAt(1)).toMatchObject({ sn: 1, type: 'ixn' })
    expect(again.keyStateAt(3)).toBeUndefined()
  })

  it('append() of a losing writer gives KEL_CONFLICT and stores nothing', async () => {
    const store = await make()
    const actor = await Actor.start()
    const { prefix, said } = actor.state
    const one = await Kel.open(store.log(prefix), prefix)
    await one.append(actor.messages[0]!)
    const two = await Kel.open(store.log(prefix), prefix)
    const left = await interact(actor.state, [{ d: said }], signer(0))
    const right = await interact(actor.state, [], signer(0))
    await one.append(left.message)
    await expect(two.append(right.message)).rejects.toThrow(expect.objectContaining({ code: 'KEL_CONFLICT' }))
    expect((await Kel.open(store.log(prefix), prefix)).state.said).toBe(left.said)
  })

  it('append() keeps the proof of duplicity and the first event (row 124)', async () => {
    const store = await make()
    const actor = await Actor.start()
    const { prefix } = actor.state
    const base = actor.state
    await actor.rotate()
    const storage = store.log(prefix)
    const kel = await Kel.open(storage, prefix)
    for (const message of actor.messages) await kel.append(message)
    const rival = await rotate(base, { keys: [key(1)], nextKeys: [key(9)] }, signer(1))
    await expect(kel.append(rival.message)).rejects.toThrow(expect.objectContaining({ code: 'KEL_DUPLICITY' }))
    expect(await storage.duplicities()).toEqual([concatBytes(actor.messages[1]!, rival.message)])
    expect(kel.state.said).toBe(actor.state.said)
  })

  it('append() holds what comes too early, takes receipts, and brings out what waited (row 135)', async () => {
    const store = await make()
    const suite = signifyVectors().suites.find(({ id }) => id === 'witnessed')!
    const kel = await Kel.open(store.log(suite.pre), suite.pre)
    const [first, second, third] = suite.events.map(({ message }) => bytes(message))
    expect((await kel.append(second!)).outcome).toBe('waiting')
    expect((await kel.append(third!)).outcome).toBe('waiting')
    const result = await kel.append(first!)
    expect(result.accepted.map(({ sn }) => sn)).toEqual([0, 1, 2])
    expect(kel.waiting).toEqual([])
    const receipt = signifyVectors().receipts[0]!
    const before = kel.witnessesOf(receipt.for).size
    expect((await kel.append(bytes(receipt.message))).outcome).toBe('receipt')
    expect(kel.witnessesOf(receipt.for).size).toBe(before + 1)
    const again = await Kel.open(store.log(suite.pre), suite.pre)
    expect(again.witnessesOf(receipt.for).size).toBe(before + 1)
    expect(again.firstSeen).toEqual(kel.firstSeen)
  })

  it('a receipt that completes the witness threshold is stored with its event', async () => {
    const store = await make()
    const { bad, suites } = signifyVectors()
    const { pre } = suites.find(({ id }) => id === 'witnessed')!
    const kel = await Kel.open(store.log(pre), pre)
    const [event, receipt] = bad.find(({ id }) => id === 'toad-unmet-then-receipt')!.stream.map(bytes)
    expect((await kel.append(event!)).outcome).toBe('waiting')
    expect((await kel.append(receipt!)).outcome).toBe('accepted')
    expect(verifyLog(await kel.export()).state.sn).toBe(0)
  })

  it('append() refuses events from outside for an own identity', async () => {
    const store = await make()
    const actor = await Actor.start()
    const { prefix } = actor.state
    const kel = await Kel.open(store.log(prefix), prefix, { own: true })
    await kel.append(actor.messages[0]!, 'local')
    expect((await kel.append(actor.messages[0]!)).outcome).toBe('known')
    await actor.interact()
    // A caller that forgets to say where an event came from has not let a thief in.
    await expect(kel.append(actor.messages[1]!)).rejects.toThrow(expect.objectContaining({ code: 'KEL_MISFIT' }))
  })

  it('the escrow is bounded (row 135)', async () => {
    const store = await make()
    const actor = await Actor.start()
    for (let i = 0; i < 12; i++) await actor.interact()
    const { prefix } = actor.state
    const kel = await Kel.open(store.log(prefix), prefix, { maxEvents: 10 })
    for (const message of actor.messages.slice(2, 12)) await kel.append(message)
    await expect(kel.append(actor.messages[12]!)).rejects.toThrow(expect.objectContaining({ code: 'KEL_ESCROW_FULL' }))
    expect(kel.waiting).toHaveLength(10)
  })
})

describe('fileLog()', () => {
  async function stored(): Promise<{ path: string; actor: Actor; storage: LogStorage }> {
    const path = join(await folder(), 'identity.cesr')
    const actor = await Actor.start()
    await actor.interact({ d: actor.state.said })
    await actor.rotate()
    const storage = fileLog(path)
    const kel = await Kel.open(storage, actor.state.prefix)
    for (const message of actor.messages) await kel.append(message)
    return { path, actor, storage }
  }

  it('cuts a torn tail at the last whole event and says so, at every length (row 137)', async () => {
    const { path, actor } = await stored()
    const whole = actor.messages[0]!.length + actor.messages[1]!.length
    for (let length = whole + 1; length < actor.log.length; length += 7) {
      await writeFile(path, actor.log.subarray(0, length))
      const kel = await Kel.open(fileLog(path), actor.state.prefix)
      expect(kel.state.sn).toBe(1)
      expect(kel.warnings[0]).toContain('KEL_RECOVERED')
    }
    const kel = await Kel.open(fileLog(path), actor.state.prefix)
    await kel.append(actor.messages[2]!)
    expect(new Uint8Array(await readFile(path))).toEqual(actor.log)
  })

  it('opens nothing when the middle is damaged (row 138)', async () => {
    const { path, actor } = await stored()
    const damaged = new Uint8Array(actor.log)
    damaged[actor.messages[0]!.length + 60]! ^= 1
    await writeFile(path, damaged)
    await expect(Kel.open(fileLog(path), actor.state.prefix)).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_CORRUPT' }),
    )
    await truncate(path, 100)
    await expect(Kel.open(fileLog(path), actor.state.prefix)).rejects.toThrow(
      expect.objectContaining({ code: 'KEL_CORRUPT' }),
    )
  })

  it('a failing disk leaves the old log or the new one, at each operation (row 142)', async () => {
    for (const mode of ['fail', 'crash', 'short-write'] as const) {
      for (let at = 0; ; at++) {
        const { path, actor } = await stored()
        const before = actor.log
        await actor.interact()
        const fs = faultFileSystem({ plan: { at, mode, code: 'ENOSPC' } })
        const kel = await Kel.open(fileLog(path, { fs, lockWaitMs: 0 }), actor.state.prefix)
        const failed = await kel.append(actor.messages[3]!).then(
          () => undefined,
          (error: unknown) => error,
        )
        if (failed !== undefined) expect(failed).toMatchObject({ code: expect.stringMatching(/^(KEL_IO|PRIM_)/) })
        await rm(`${path}.lock`, { force: true })
        const after = await Kel.open(fileLog(path), actor.state.prefix)
        const bytesAfter = concatBytes(...after.events.map(({ message }) => message))
        expect([before.length, actor.log.length]).toContain(bytesAfter.length)
        if (failed === undefined) expect(bytesAfter).toEqual(actor.log)
        expect(fs.openHandles).toBe(0)
        if (!fs.fired) break
      }
    }
  })
})
