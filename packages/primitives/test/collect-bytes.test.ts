import { expect, it } from 'vitest'
import { collectBytes } from '../src/index.ts'

const tooLong = (): Error => new Error('too long')

function streamOf(parts: readonly Uint8Array[], onCancel: () => void = () => undefined): ReadableStream<Uint8Array> {
  let next = 0
  return new ReadableStream({
    pull(controller) {
      const part = parts[next++]
      if (part === undefined) controller.close()
      else controller.enqueue(part)
    },
    cancel: onCancel,
  })
}

async function* iterate(parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts
}

const PARTS = [[1, 2, 3], [], [4], Array.from({ length: 9000 }, (_, at) => at % 251)].map((part) =>
  Uint8Array.from(part),
)
const WHOLE = Uint8Array.from(PARTS.flatMap((part) => [...part]))

it.each([
  ['an iterable', () => iterate(PARTS)],
  ['a stream', () => streamOf(PARTS)],
  ['the body of a response', () => new Response(WHOLE).body],
])('collectBytes() reads %s whole, up to exactly the limit', async (_name, make) => {
  expect(await collectBytes(make(), WHOLE.length, tooLong)).toEqual(WHOLE)
  await expect(collectBytes(make(), WHOLE.length - 1, tooLong)).rejects.toThrow('too long')
})

it('collectBytes() gives no bytes for no body, and a copy otherwise', async () => {
  expect(await collectBytes(null, 0, tooLong)).toHaveLength(0)
  const part = Uint8Array.of(1, 2)
  const bytes = await collectBytes(iterate([part]), 2, tooLong)
  part.fill(9)
  expect(bytes).toEqual(Uint8Array.of(1, 2))
})

it('collectBytes() cancels an endless stream at the limit', async () => {
  let cancelled = 0
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new Uint8Array(1000)),
    cancel: () => void (cancelled += 1),
  })
  await expect(collectBytes(endless, 100_000, tooLong)).rejects.toThrow('too long')
  expect(cancelled).toBe(1)
})

it('collectBytes() reports the error of the limit, not that of a stream that cannot be cancelled', async () => {
  const stream = streamOf(PARTS, () => {
    throw new Error('not cancelled')
  })
  await expect(collectBytes(stream, 1, tooLong)).rejects.toThrow('too long')
})

it('collectBytes() passes on an error of the stream', async () => {
  const broken = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error('broke')) })
  await expect(collectBytes(broken, 10, tooLong)).rejects.toThrow('broke')
})

it('collectBytes() takes a limit, not a missing number', async () => {
  await expect(collectBytes(null, Number.NaN, tooLong)).rejects.toThrow(RangeError)
})
