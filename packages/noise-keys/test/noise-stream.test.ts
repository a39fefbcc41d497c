import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { Duplex } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes, equalBytes } from '@keyturn/primitives'
import { frameMessage, FrameReader, openNoiseStream, SessionRegistry } from '../src/noise/index.ts'
import type { ByteDuplex, ByteTransport, NoiseStream, NoiseStreamOptions } from '../src/noise/index.ts'
import { clientKey, serverKey } from './noise-pairs.ts'

const XX = 'Noise_XX_25519_ChaChaPoly_SHA256'

type Change = (bytes: Uint8Array) => Uint8Array

/** Two ends of a connection in memory; `change` sees what goes from the first to the second. */
function pair(change: Change = (bytes) => bytes): [ByteDuplex, ByteDuplex] {
  const forth = new TransformStream<Uint8Array, Uint8Array>({
    transform: (bytes, controller) => controller.enqueue(change(bytes)),
  })
  const back = new TransformStream<Uint8Array, Uint8Array>()
  return [
    { readable: back.readable, writable: forth.writable },
    { readable: forth.readable, writable: back.writable },
  ]
}

function open(
  [left, right]: [ByteTransport, ByteTransport],
  options: Partial<NoiseStreamOptions> = {},
): Promise<[NoiseStream, NoiseStream]> {
  return Promise.all([
    openNoiseStream(left, XX, { role: 'initiator', staticKey: clientKey, limits: options.limits }),
    openNoiseStream(right, XX, { role: 'responder', staticKey: serverKey, ...options }),
  ])
}

async function readAll({ readable }: ByteDuplex): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const part of readable) parts.push(part)
  return concatBytes(...parts)
}

async function write({ writable }: ByteDuplex, ...chunks: readonly Uint8Array[]): Promise<void> {
  const writer = writable.getWriter()
  for (const chunk of chunks) await writer.write(chunk)
  await writer.close()
}

function streamOf(parts: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  const left = [...parts]
  return new ReadableStream<Uint8Array>({
    pull(controller) {
      const next = left.shift()
      if (next === undefined) controller.close()
      else controller.enqueue(next)
    },
  })
}

const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'no error',
    (error: { code?: unknown; name: string }) => (typeof error.code === 'string' ? error.code : error.name),
  )

const bytesOf = (length: number): Uint8Array => new Uint8Array(length).map((_, index) => index * 7)

describe('FrameReader', () => {
  it('gives the messages back, however the stream is cut (property)', async () => {
    const lengths = fc.array(fc.nat(700), { maxLength: 6 })
    await fc.assert(
      fc.asyncProperty(lengths, fc.integer({ min: 1, max: 40 }), async (sizes, step) => {
        const whole = concatBytes(...sizes.map((size) => frameMessage(bytesOf(size))))
        const parts = Array.from({ length: Math.ceil(whole.length / step) }, (_, index) =>
          whole.subarray(index * step, (index + 1) * step),
        )
        const reader = new FrameReader(streamOf(parts))
        for (const size of sizes) expect(await reader.read()).toEqual(bytesOf(size))
        expect(await reader.read()).toBeUndefined()
      }),
      { numRuns: 50 },
    )
  })

  it('refuses a stream that ends at any byte inside a message, and a message that is too long', async () => {
    const frame = frameMessage(bytesOf(20))
    for (let length = 1; length < frame.length; length++)
      expect(await codeOf(new FrameReader(streamOf([frame.subarray(0, length)])).read())).toBe('NK_TRUNCATED')
    expect(() => frameMessage(new Uint8Array(65_536))).toThrow('at most 65535 fit')
  })
})

describe('openNoiseStream()', () => {
  it('carries bytes of any length both ways, one direction ended before the other', async () => {
    const [client, server] = await open(pair())
    expect(client.session.id).toEqual(server.session.id)
    const question = bytesOf(200_000)
    const asked = write(client, question.subarray(0, 1), new Uint8Array(0), question.subarray(1))
    expect(equalBytes(await readAll(server), question)).toBe(true)
    await asked
    // The client has ended its direction; the server still answers.
    const [answer] = await Promise.all([readAll(client), write(server, bytesOf(70_000))])
    expect(answer).toEqual(bytesOf(70_000))
    expect([client.session.ended, server.session.ended]).toEqual(['closed', 'closed'])
  })

  it('changes keys on the way', async () => {
    const [client, server] = await open(pair(), { limits: { rekeyAfterMessages: 2 } })
    const chunks = Array.from({ length: 9 }, (_, index) => bytesOf(index + 1))
    const [got] = await Promise.all([readAll(server), write(client, ...chunks)])
    expect(got).toEqual(concatBytes(...chunks))
  })

  it('holds the writer back until somebody reads', async () => {
    const [client, server] = await open(pair())
    const writer = client.writable.getWriter()
    let written = 0
    const all = (async () => {
      for (let index = 0; index < 50; index++) {
        await writer.write(bytesOf(1000))
        written++
      }
      await writer.close()
    })()
    await new Promise((later) => setTimeout(later, 30))
    expect(written).toBeLessThan(5)
    expect(await readAll(server)).toHaveLength(50_000)
    await all
  })

  it('a connection that is cut is an error, also between two messages', async () => {
    const [left, right] = pair()
    let cutNow: (() => void) | undefined
    const cutting = new TransformStream<Uint8Array, Uint8Array>({
      start: (controller) => void (cutNow = () => controller.terminate()),
    })
    void right.readable.pipeTo(cutting.writable).catch(() => undefined)
    const [client, server] = await open([left, { ...right, readable: cutting.readable }])
    const reader = server.readable.getReader()
    void client.writable.getWriter().write(bytesOf(3))
    expect((await reader.read()).value).toEqual(bytesOf(3))
    cutNow?.()
    expect(await codeOf(reader.read())).toBe('NK_TRUNCATED')
    expect(await codeOf(server.writable.getWriter().write(bytesOf(1)))).toBe('NK_TRUNCATED')
    expect(server.session.ended).toBe('closed')
  })

  it('a changed byte ends both directions', async () => {
    let count = 0
    const [client, server] = await open(
      pair((bytes) => {
        count++
        // Two messages of the handshake are the client's, the third is data.
        if (count < 3) return bytes
        const changed = bytes.slice()
        changed[9] = (changed[9] as number) ^ 1
        return changed
      }),
    )
    void client.writable
      .getWriter()
      .write(bytesOf(40))
      .catch(() => undefined)
    expect(await codeOf(readAll(server))).toBe('NK_DECRYPT')
    expect(await codeOf(server.writable.getWriter().write(bytesOf(1)))).toBe('NK_DECRYPT')
    expect(await codeOf(readAll(client))).not.toBe('no error')
  })

  it('a revoked peer is cut off in the middle', async () => {
    const [, server] = await open(pair())
    const registry = new SessionRegistry()
    registry.add(server.session)
    const waiting = codeOf(readAll(server))
    expect(registry.revokePeer(clientKey.publicKey)).toBe(1)
    expect(await waiting).toBe('NK_SESSION_ENDED')
    // A write that a peer who reads nothing holds up ends as well.
    const [stuck] = await open(pair())
    const writer = stuck.writable.getWriter()
    const held = codeOf(Promise.all([1, 2, 3, 4].map((length) => writer.write(bytesOf(length)))))
    await new Promise((later) => setTimeout(later, 10))
    stuck.session.close('revoked')
    expect(await held).toBe('NK_SESSION_ENDED')
    expect(await codeOf(server.writable.getWriter().write(bytesOf(1)))).toBe('NK_SESSION_ENDED')
  })

  it('cancelling and aborting end the other direction, too', async () => {
    const [client, server] = await open(pair())
    await client.readable.cancel(new Error('enough'))
    expect(client.session.ended).toBe('closed')
    expect(await codeOf(client.writable.getWriter().write(bytesOf(1)))).toBe('Error')
    await server.writable.abort(new Error('enough'))
    expect(await codeOf(readAll(server))).toBe('Error')
  })

  it('verifyRemote decides before anything is answered', async () => {
    const [left, right] = pair()
    const seen: Uint8Array[] = []
    const client = openNoiseStream(left, XX, { role: 'initiator', staticKey: clientKey })
    const server = openNoiseStream(right, XX, {
      role: 'responder',
      staticKey: serverKey,
      verifyRemote: (publicKey) => {
        seen.push(publicKey)
        throw Object.assign(new Error('revoked'), { code: 'NK_REVOKED' })
      },
    })
    expect(await codeOf(server)).toBe('NK_REVOKED')
    expect(seen).toEqual([clientKey.publicKey])
    // XX tells the initiator nothing of what the responder decides: it learns it from its stream.
    expect(await codeOf(client.then(readAll))).not.toBe('no error')
  })

  it('refuses another protocol, a peer that says nothing, a stream that ends, and wrong arguments', async () => {
    const [left, right] = pair()
    const client = codeOf(openNoiseStream(left, XX, { role: 'initiator', staticKey: clientKey }))
    const other = { role: 'responder', staticKey: serverKey, prologue: bytesOf(3) } as const
    expect(await codeOf(openNoiseStream(right, XX, other).then(readAll))).not.toBe('no error')
    expect(await client).toBe('NK_HANDSHAKE')

    const [silent] = pair()
    const options = { role: 'initiator', staticKey: clientKey } as const
    const signal = AbortSignal.timeout(20)
    expect(await codeOf(openNoiseStream(silent, XX, { ...options, signal }))).toBe('TimeoutError')
    const [, unused] = pair()
    const ended = { readable: streamOf([]), writable: unused.writable } as ByteDuplex
    expect(await codeOf(openNoiseStream(ended, XX, { role: 'responder', staticKey: serverKey }))).toBe('NK_TRUNCATED')
    await expect(openNoiseStream(undefined as never, XX, options)).rejects.toThrow('transport must have')
    await expect(openNoiseStream(silent, XX, undefined as never)).rejects.toThrow('options must have')
  })

  it('runs over TCP as streams of Node, and both sockets close', async () => {
    const server = createServer({ allowHalfOpen: true })
    await new Promise<void>((listening) => void server.listen(0, '127.0.0.1', listening))
    const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
    const [taken] = (await once(server, 'connection')) as [Socket]
    const [client, answering] = await open([Duplex.toWeb(socket), Duplex.toWeb(taken)])
    const closed = Promise.all([once(socket, 'close'), once(taken, 'close')])
    const echo = answering.readable.pipeTo(answering.writable)
    const stream = Duplex.fromWeb(client as unknown as Parameters<typeof Duplex.fromWeb>[0])
    stream.end(bytesOf(300_000))
    const parts: Uint8Array[] = []
    for await (const part of stream) parts.push(part as Uint8Array)
    expect(equalBytes(concatBytes(...parts), bytesOf(300_000))).toBe(true)
    await Promise.all([echo, closed])
    server.close()
  })
})
