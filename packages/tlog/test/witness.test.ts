import { describe, expect, it } from 'vitest'
import { utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  askWitness,
  fetchCheckpoint,
  fetchWitnessed,
  followLog,
  formatSignatureLine,
  formatWitnessRequest,
  Frontier,
  httpTileSource,
  isSplitView,
  LogWitness,
  memoryWitnessStore,
  originHash,
  parseCheckpoint,
  parseNote,
  proveConsistency,
  seedNoteSigner,
  signCheckpoint,
  TlogError,
  verifyCheckpoint,
  verifyNote,
  WitnessConflict,
} from '../src/index.ts'
import { EMPTY_ROOT } from '../src/merkle.ts'
import type { WitnessStore } from '../src/index.ts'
import { entry, MemoryLog, range } from './support/memory-log.ts'

const code = (name: string): unknown => expect.objectContaining({ code: name })
const signer = seedNoteSigner('w.example', 'cosignature', new Uint8Array(32).fill(7))
const entries = (start: number, end: number): Uint8Array[] => range(start, end).map((n) => entry(n))

function witnessOf(log: MemoryLog, store: WitnessStore = memoryWitnessStore()): LogWitness {
  return new LogWitness(signer, [{ origin: log.signer.key.name, keys: [log.signer.key] }], store, { clock: () => 5000 })
}

async function ask(witness: LogWitness, log: MemoryLog, oldSize: number, checkpoint: Uint8Array): Promise<number> {
  const size = parseCheckpoint(parseNote(checkpoint).text).size
  const hashes = await proveConsistency(log, oldSize, size)
  const signature = await witness.add(formatWitnessRequest({ oldSize, hashes, checkpoint }))
  const note = { text: parseNote(checkpoint).text, signatures: [signature] }
  return verifyNote(note, [witness.key])[0]?.timestamp ?? -1
}

describe('LogWitness', () => {
  it('signs a log as it grows, the same checkpoint again, and keeps what it signed for monitors', async () => {
    const log = new MemoryLog()
    const witness = witnessOf(log)
    const first = await log.append(entries(0, 5))
    expect(await ask(witness, log, 0, first)).toBe(5)
    expect(await ask(witness, log, 5, first)).toBe(5)
    const second = await log.append(entries(5, 300))
    await ask(witness, log, 5, second)
    const kept = await witness.latest('log.example/one')
    expect(verifyCheckpoint(kept!, log.signer.key).size).toBe(300)
    expect(verifyNote(parseNote(kept!), [witness.key])).toHaveLength(1)
    expect(await witness.latest('other.example')).toBeUndefined()
    expect(witness.logs).toHaveLength(1)
  })

  it('never signs two trees: a fork, a smaller tree, a proof from the wrong size', async () => {
    const log = new MemoryLog()
    const fork = new MemoryLog()
    const witness = witnessOf(log)
    await ask(witness, log, 0, await log.append(entries(0, 5)))
    const forked = await fork.append([...entries(0, 4), entry(99)])
    await expect(ask(witness, fork, 5, forked)).rejects.toThrow(code('TLOG_CONSISTENCY'))
    const grownFork = await fork.append(entries(5, 9))
    await expect(ask(witness, fork, 5, grownFork)).rejects.toThrow(code('TLOG_CONSISTENCY'))
    // A log that hides what it showed before starts from nothing, and learns the size that it showed.
    const conflict = await ask(witness, fork, 0, grownFork).catch((error: unknown) => error)
    expect(conflict).toBeInstanceOf(WitnessConflict)
    expect(conflict).toMatchObject({ code: 'TLOG_CONFLICT', size: 5 })
    const small = await new MemoryLog().append(entries(0, 3))
    const request = formatWitnessRequest({ oldSize: 5, hashes: [], checkpoint: small })
    await expect(witness.add(request)).rejects.toThrow(code('TLOG_PROOF'))
    const left = parseCheckpoint(parseNote(forked).text)
    const right = parseCheckpoint(parseNote((await witness.latest('log.example/one'))!).text)
    expect(isSplitView({ left, right })).toBe(true)
    expect(isSplitView({ left, right: left })).toBe(false)
  })

  it('refuses logs and keys that it does not know, and trees of no entries with another root', async () => {
    const log = new MemoryLog()
    const witness = witnessOf(log)
    const other = new MemoryLog('other.example', 2)
    await expect(ask(witness, other, 0, await other.append(entries(0, 1)))).rejects.toThrow(code('TLOG_UNKNOWN_LOG'))
    const pretender = new MemoryLog('log.example/one', 3)
    const pretended = await pretender.append(entries(0, 1))
    await expect(ask(witness, pretender, 0, pretended)).rejects.toThrow(code('TLOG_SIGNATURE'))
    const empty = await signCheckpoint({ size: 0, root: EMPTY_ROOT }, log.signer)
    expect(await ask(witness, log, 0, empty)).toBe(5)
    const wrong = await signCheckpoint({ size: 0, root: new Uint8Array(32) }, log.signer)
    await expect(ask(witness, log, 0, wrong)).rejects.toThrow(code('TLOG_CHECKPOINT'))
    for (const body of ['', 'old\n\n', 'old 01\n\nx', 'old 1\nx\n\ny', 'new 1\n\nx']) {
      await expect(witness.add(utf8Encode(body))).rejects.toThrow(code('TLOG_PROOF'))
    }
    expect(() => new LogWitness(log.signer, [], memoryWitnessStore())).toThrow(TypeError)
  })

  it('of two requests at the same time one is answered with a conflict, and the tree never goes back', async () => {
    const log = new MemoryLog()
    const store = memoryWitnessStore()
    const witness = witnessOf(log, store)
    await ask(witness, log, 0, await log.append(entries(0, 1)))
    const [three, five] = [await log.append(entries(1, 3)), await log.append(entries(3, 5))]
    const outcomes = await Promise.allSettled([ask(witness, log, 1, five), ask(witness, log, 1, three)])
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const refused = outcomes.find((outcome) => outcome.status === 'rejected')
    expect(refused?.reason).toBeInstanceOf(WitnessConflict)
  })

  it('signs nothing that it could not store', async () => {
    const log = new MemoryLog()
    const broken: WitnessStore = {
      load: () => Promise.resolve(undefined),
      replace: () => Promise.reject(new Error('disk full')),
    }
    await expect(ask(witnessOf(log, broken), log, 0, await log.append(entries(0, 2)))).rejects.toThrow('disk full')
  })
})

describe('followLog()', () => {
  it('gives the new entries and proves that nothing else changed', async () => {
    const log = new MemoryLog()
    await log.append(entries(0, 200))
    const first = await followLog(log, log)
    expect(first.entries).toEqual(entries(0, 200))
    await log.append(entries(200, 600))
    const second = await followLog(log, log, first.state)
    expect(second.entries).toEqual(entries(200, 600))
    expect(await followLog(log, log, second.state)).toEqual({ entries: [], state: second.state })
    const rewritten = new MemoryLog()
    await rewritten.append([entry(7), ...entries(1, 700)])
    await expect(followLog(rewritten, rewritten, second.state)).rejects.toThrow(code('TLOG_CONSISTENCY'))
    await expect(followLog(log, { size: 10, root: log.root }, second.state)).rejects.toThrow(code('TLOG_CONSISTENCY'))
    expect(() => new Frontier({ size: 3, hashes: [] })).toThrow(code('TLOG_TILE'))
  })
})

describe('over HTTP', () => {
  /** A log and a witness behind a `fetch`. */
  function network(log: MemoryLog, witness: LogWitness): typeof fetch {
    return async (input, init) => {
      const path = new URL(String(input)).pathname
      if (path === '/w/add-checkpoint') {
        try {
          const line = await witness.add(new Uint8Array(init?.body as Uint8Array))
          return new Response(formatSignatureLine(line))
        } catch (error) {
          if (error instanceof WitnessConflict) return new Response(`${error.size}\n`, { status: 409 })
          return new Response(error instanceof TlogError ? error.message : '', { status: 422 })
        }
      }
      const kept =
        path === `/w/${originHash('log.example/one')}/checkpoint` ? await witness.latest('log.example/one') : undefined
      const bytes = kept ?? log.files.get(path.replace('/log/', ''))
      return bytes === undefined ? new Response('', { status: 404 }) : new Response(new Uint8Array(bytes))
    }
  }

  it('a log asks a witness, learns its size from the conflict, and a follower reads both', async () => {
    const log = new MemoryLog()
    const witness = witnessOf(log)
    const options = { fetch: network(log, witness) }
    await ask(witness, log, 0, await log.append(entries(0, 3)))
    const checkpoint = await log.append(entries(3, 260))
    log.files.set('checkpoint', checkpoint)
    const origin = 'log.example/one'
    const failed = await askWitness(
      'https://example/w/',
      { origin, oldSize: 0, hashes: [], checkpoint },
      options,
    ).catch((e: unknown) => e)
    expect(failed).toMatchObject({ code: 'TLOG_CONFLICT', size: 3 })
    const hashes = await proveConsistency(httpTileSource('https://example/log', options), 3, 260)
    const lines = await askWitness('https://example/w', { origin, oldSize: 3, hashes, checkpoint }, options)
    expect(verifyNote({ text: parseNote(checkpoint).text, signatures: lines }, [witness.key])).toHaveLength(1)
    const fetched = verifyCheckpoint(await fetchCheckpoint('https://example/log/', options), log.signer.key)
    // Partial tiles of older sizes are gone: the full ones are read instead.
    for (const path of log.files.keys()) if (/\/000\.p\/(?:3|5)$/.test(path)) log.files.delete(path)
    const source = httpTileSource('https://example/log', options)
    expect((await followLog(source, fetched)).entries).toHaveLength(260)
    const witnessed = await fetchWitnessed('https://example/w', origin, options)
    expect(utf8Decode(witnessed)).toContain('— w.example ')
  })

  it('refusals keep their meaning, and other answers than those of a log or witness are TLOG_UNAVAILABLE', async () => {
    const log = new MemoryLog()
    const checkpoint = await log.append(entries(0, 1))
    const asked = { origin: 'log.example/one', oldSize: 0, hashes: [], checkpoint }
    const answering = (status: number, body: string | Uint8Array<ArrayBuffer> = ''): { fetch: typeof fetch } => ({
      fetch: () => Promise.resolve(new Response(body, { status })),
    })
    const codes: Record<number, string> = {
      400: 'TLOG_PROOF',
      403: 'TLOG_SIGNATURE',
      404: 'TLOG_UNKNOWN_LOG',
      422: 'TLOG_CONSISTENCY',
      500: 'TLOG_UNAVAILABLE',
      409: 'TLOG_UNAVAILABLE',
    }
    for (const [status, expected] of Object.entries(codes)) {
      await expect(askWitness('https://w', asked, answering(Number(status)))).rejects.toThrow(code(expected))
    }
    await expect(askWitness('https://w', asked, answering(200, 'hello'))).rejects.toThrow(code('TLOG_NOTE'))
    await expect(askWitness('https://w', asked, answering(200, Uint8Array.of(0xff)))).rejects.toThrow(code('TLOG_NOTE'))
    await expect(fetchCheckpoint('https://l', answering(404))).rejects.toThrow(code('TLOG_UNAVAILABLE'))
    await expect(fetchCheckpoint('https://l', answering(200, 'x'.repeat(300_000)))).rejects.toThrow(code('TLOG_LIMIT'))
    const offline = { fetch: () => Promise.reject(new Error('offline')), signal: new AbortController().signal }
    await expect(fetchCheckpoint('https://l', offline)).rejects.toThrow(code('TLOG_UNAVAILABLE'))
    const tile = { level: 0, index: 0, width: 256 }
    await expect(httpTileSource('https://l', answering(404)).read(tile)).rejects.toThrow(code('TLOG_UNAVAILABLE'))
  })
})
