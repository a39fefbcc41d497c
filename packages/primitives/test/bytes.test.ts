import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  compareBytes,
  concatBytes,
  dssePae,
  equalBytes,
  printable,
  PrimitivesError,
  Reader,
  SecretBytes,
  utf8Decode,
  utf8Encode,
  Writer,
} from '../src/index.ts'
import { inspect } from 'node:util'

describe('Reader and Writer', () => {
  it('are inverse for every width', () => {
    fc.assert(
      fc.property(
        fc.nat(0xff),
        fc.nat(0xffff),
        fc.nat(0xffffffff),
        fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        fc.uint8Array(),
        (a, b, c, d, tail) => {
          const bytes = new Writer(1)
            .u8(a)
            .u16le(b)
            .u16be(b)
            .u32le(c)
            .u32be(c)
            .u64le(d)
            .u64be(d)
            .zeros(3)
            .bytes(tail)
            .finish()
          const r = new Reader(bytes)
          expect([
            r.u8('a'),
            r.u16le('b'),
            r.u16be('b'),
            r.u32le('c'),
            r.u32be('c'),
            r.u64le('d'),
            r.u64be('d'),
          ]).toEqual([a, b, b, c, c, d, d])
          r.zeros(3, 'reserved')
          expect(r.rest('tail')).toEqual(tail)
          r.end()
        },
      ),
    )
  })

  it.each([
    ['PRIM_TRUNCATED', (r: Reader) => r.u32le('count')],
    ['PRIM_TRUNCATED', (r: Reader) => r.bytes(3, 'name')],
    ['PRIM_LIMIT', (r: Reader) => r.u16le('count', { max: 5 })],
    ['PRIM_VALUE', (r: Reader) => r.u8('count', { min: 9 })],
    ['PRIM_VALUE', (r: Reader) => r.zeros(2, 'reserved')],
    ['PRIM_VALUE', (r: Reader) => r.expect(Uint8Array.of(9), 'magic')],
    ['PRIM_TRAILING', (r: Reader) => r.end()],
  ])('Reader throws %s with field and offset', (code, read) => {
    expect(() => read(new Reader(Uint8Array.of(8, 8)))).toThrow(
      expect.objectContaining({ code, details: expect.objectContaining({ offset: 0 }) }),
    )
  })

  it('Reader refuses a 64-bit size over the limit before it becomes a number', () => {
    const bytes = new Writer().u64le(2n ** 60n).finish()
    expect(() => new Reader(bytes).size64le('size', { max: 100 })).toThrow(
      expect.objectContaining({ code: 'PRIM_LIMIT' }),
    )
    expect(() => new Reader(bytes).size64le('size')).toThrow(expect.objectContaining({ code: 'PRIM_LIMIT' }))
  })

  it('Reader throws the error that its format makes', () => {
    class FormatError extends Error {}
    const reader = new Reader(new Uint8Array(0), ({ field, offset }) => new FormatError(`${field}@${offset}`))
    expect(() => reader.u8('magic')).toThrow(new FormatError('magic@0'))
  })

  it('Writer refuses what does not fit', () => {
    for (const write of [
      (w: Writer) => w.u8(256),
      (w: Writer) => w.u16le(-1),
      (w: Writer) => w.u32be(1.5),
      (w: Writer) => w.u64le(2n ** 64n),
    ]) {
      expect(() => write(new Writer())).toThrow(RangeError)
    }
  })
})

describe('byte strings', () => {
  it('compareBytes() orders as memcmp, and equalBytes() agrees with it', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4 }), fc.uint8Array({ maxLength: 4 }), (left, right) => {
        expect(Math.sign(compareBytes(left, right))).toBe(Math.sign(Buffer.compare(left, right)))
        expect(equalBytes(left, right)).toBe(compareBytes(left, right) === 0)
      }),
    )
  })

  it('concatBytes() joins', () => {
    expect(concatBytes(Uint8Array.of(1), new Uint8Array(0), Uint8Array.of(2, 3))).toEqual(Uint8Array.of(1, 2, 3))
  })
})

describe('dssePae()', () => {
  it('gives the encoding of the DSSE protocol document', () => {
    expect(utf8Decode(dssePae('http://example.com/HelloWorld', utf8Encode('hello world')))).toBe(
      'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
    )
  })
})

describe('SecretBytes', () => {
  it('never prints what it holds, and lends nothing after dispose()', () => {
    const bytes = utf8Encode('hunter2')
    const secret = SecretBytes.take(bytes)
    expect(bytes).toEqual(new Uint8Array(7))
    expect(secret.withBytes((lent) => utf8Decode(lent))).toBe('hunter2')
    const kept = secret.withBytes((lent) => lent)
    expect(
      [String(secret), JSON.stringify({ secret }), inspect(secret), `${inspect({ a: [secret] })}`].join(),
    ).not.toMatch(/hunter2|104/)
    expect(secret.withBytes((lent) => lent.length)).toBe(7)
    secret.dispose()
    secret.dispose()
    expect(kept).toEqual(new Uint8Array(7))
    expect(() => secret.withBytes(() => 0)).toThrow(TypeError)
  })
})

describe('errors', () => {
  it('carry code, kind, details, hint and cause', () => {
    const cause = new Error('below')
    const error = new PrimitivesError('PRIM_DECRYPT', 'Cannot open', { details: { at: 3 }, hint: 'look', cause })
    expect(error).toMatchObject({
      name: 'PrimitivesError',
      code: 'PRIM_DECRYPT',
      kind: 'auth',
      details: { at: 3 },
      hint: 'look',
      cause,
    })
  })

  it('printable() strips controls, bidi marks and length', () => {
    expect(printable('a\u001b[31m\u202eb')).toBe('a\\u{1b}[31m\\u{202e}b')
    expect(printable('x'.repeat(300))).toHaveLength(201)
  })
})
