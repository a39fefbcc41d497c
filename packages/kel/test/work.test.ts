import { describe, expect, it } from 'vitest'
import { concatBytes, utf8Encode } from '@keyturn/primitives'
import { checkStream, Kel, KelError, memoryStore, verifyLog } from '../src/index.ts'
import type { KelStore } from '../src/index.ts'
import { interact, rotate } from '../src/owner/index.ts'
import { Actor, key, signer } from './support/actors.ts'
import { forge, inceptionFields } from './support/forge.ts'

const LIMIT = 4 * 1024 * 1024

/** Messages of one kind, as many as fit. */
function filled(make: (n: number) => Uint8Array, maxBytes = LIMIT): Uint8Array {
  const messages: Uint8Array[] = []
  for (let [n, size] = [0, 0]; ; n++) {
    const message = make(n)
    size += message.length
    if (size > maxBytes) return concatBytes(...messages)
    messages.push(message)
  }
}

function holding(stream: Uint8Array, prefix: string): ReturnType<KelStore['log']> {
  return { ...memoryStore().log(prefix), read: async () => ({ stream, version: '1' }) }
}

async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work()
    return 'accepted'
  } catch (error) {
    if (error instanceof KelError) return error.code
    throw error
  }
}

/** The verdict of each entrance, and how much processor time it took, milliseconds. */
async function readings(stream: Uint8Array, prefix: string): Promise<readonly { code: string; cpuMs: number }[]> {
  const entrances: readonly (() => unknown)[] = [
    () => verifyLog(stream, { prefix }),
    () => Kel.open(holding(stream, prefix), prefix),
    () => {
      const refused = checkStream(stream).messages.find(({ code }) => code !== undefined)
      if (refused !== undefined) throw new KelError(refused.code as 'KEL_LIMIT', refused.explanation)
    },
  ]
  const found: { code: string; cpuMs: number }[] = []
  for (const entrance of entrances) {
    const start = process.cpuUsage()
    const code = await codeOf(entrance)
    const { user, system } = process.cpuUsage(start)
    found.push({ code, cpuMs: (user + system) / 1000 })
  }
  return found
}

const first = forge(inceptionFields(), 0)
const body = utf8Encode(new TextDecoder().decode(first.message).replace(/\}-.*$/s, '}'))
const junk = utf8Encode(`-ADA${'A'.repeat(88 * 192)}`)
const torn = utf8Encode('{"v":"KERI10JSONzzzzzz_"}')

const hostile: [string, Uint8Array][] = [
  ['signatures that fail', filled(() => concatBytes(body, junk))],
  [
    'the same after a message that cannot be read',
    concatBytes(
      torn,
      filled(() => concatBytes(body, junk), LIMIT - torn.length),
    ),
  ],
  ['one byte more than a log may have', new Uint8Array(LIMIT + 1).fill(0x20)],
]

describe('verifyLog(), Kel.open() and checkStream() on a hostile stream of 4 MiB', () => {
  it.each(hostile)('%s: one verdict, before a signature is verified', async (name, stream) => {
    const found = await readings(stream, first.said)
    const codes = found.map(({ code }) => code)
    if (name.startsWith('the same')) {
      // What cannot be read is refused for that where it stands first; the work behind it is not done either.
      expect(codes.at(-1)).toBe('KEL_LIMIT')
      expect(codes).not.toContain('accepted')
    } else expect(codes).toEqual(['KEL_LIMIT', 'KEL_LIMIT', 'KEL_LIMIT'])
    // Hundreds of times less than the work that is refused; the goal of a second is measured by the benchmark.
    for (const { cpuMs } of found) expect(cpuMs).toBeLessThan(1000)
  })

  it('checkStream() counts the messages of all identities together', () => {
    const wide = Array.from({ length: 90 }, (_, n) =>
      concatBytes(forge(inceptionFields(0, { a: [{ n }] })).message.subarray(0, -4), junk),
    )
    expect(checkStream(concatBytes(...wide)).messages).toMatchObject([{ verdict: 'reject:limit' }])
    expect(checkStream(concatBytes(...wide.slice(0, 9))).messages).toHaveLength(9)
  })

  it('a caller who takes longer logs allows more at each of them', async () => {
    const actor = await Actor.start()
    for (let n = 0; n < 3; n++) await actor.interact()
    const { prefix } = actor.state
    const maxBytes = actor.log.length - 1
    expect(await codeOf(() => verifyLog(actor.log, { maxBytes }))).toBe('KEL_LIMIT')
    expect(checkStream(actor.log, { maxBytes }).messages).toMatchObject([{ code: 'KEL_LIMIT' }])
    const stored = holding(actor.log, prefix)
    expect(await codeOf(() => Kel.open(stored, prefix, { maxLogBytes: maxBytes }))).toBe('KEL_LIMIT')
    expect(await codeOf(() => Kel.open(stored, prefix, { maxLogBytes: maxBytes + 1 }))).toBe('accepted')
  })
})

describe('Kel.append()', () => {
  it('stores nothing that the log has no room for, and keeps a sixteenth for rotations (KEL_LIMIT)', async () => {
    const actor = await Actor.start()
    const { prefix } = actor.state
    const store = memoryStore().log(prefix)
    const maxLogBytes = 4096
    const kel = await Kel.open(store, prefix, { own: true, maxLogBytes })
    await kel.append(actor.log, 'local')
    let refused = 'accepted'
    let state = actor.state
    while (refused === 'accepted') {
      const event = await interact(state, [], signer(0))
      refused = await codeOf(() => kel.append(event.message, 'local'))
      if (refused === 'accepted') state = event.state
    }
    expect(refused).toBe('KEL_LIMIT')
    expect(kel.state.said).toBe(state.said)
    const size = (await kel.export()).length
    expect(size).toBeGreaterThan((maxLogBytes * 3) / 4)
    expect((await Kel.open(store, prefix, { maxLogBytes })).state.said).toBe(state.said)
    const rotation = await rotate(state, { keys: [key(1)], nextKeys: [key(2)] }, signer(1))
    const fits = size + rotation.message.length <= maxLogBytes
    expect(await codeOf(() => kel.append(rotation.message, 'local'))).toBe(fits ? 'accepted' : 'KEL_LIMIT')
  })
})
