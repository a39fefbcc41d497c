import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson, hexEncode, parseStrictJson, PrimitivesError, utf8Encode } from '../src/index.ts'
import type { JsonValue } from '../src/index.ts'
import { haveVectors, vectorPath, vectorText } from './conformance.ts'

const parse = (text: string) => parseStrictJson(utf8Encode(text))
const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown

function outcome(bytes: Uint8Array, numbers: 'any' | 'safe-integers', maxDepth = 16): 'accepted' | 'refused' {
  try {
    parseStrictJson(bytes, { numbers, maxDepth })
    return 'accepted'
  } catch (error) {
    expect(error).toBeInstanceOf(PrimitivesError)
    return 'refused'
  }
}

describe.skipIf(!haveVectors)('published JSON vectors', () => {
  const names = haveVectors ? readdirSync(vectorPath('json-test-suite/test_parsing')).sort() : []
  const read = (name: string) => readFileSync(vectorPath(`json-test-suite/test_parsing/${name}`))

  it('parseStrictJson() refuses all 188 n_ files', () => {
    const mustFail = names.filter((name) => name.startsWith('n_'))
    expect(mustFail).toHaveLength(188)
    expect(mustFail.filter((name) => outcome(read(name), 'any', 500) === 'accepted')).toEqual([])
  })

  it('parseStrictJson() accepts the 95 y_ files but for duplicate keys', () => {
    const mustPass = names.filter((name) => name.startsWith('y_'))
    expect(mustPass).toHaveLength(95)
    expect(mustPass.filter((name) => outcome(read(name), 'any') === 'refused')).toEqual([
      'y_object_duplicated_key.json',
      'y_object_duplicated_key_and_value.json',
    ])
  })

  it('parseStrictJson() gives every i_ and transform file the same answer twice', () => {
    const free = names.filter((name) => name.startsWith('i_'))
    expect(free).toHaveLength(35)
    for (const name of free) expect(outcome(read(name), 'any')).toBe(outcome(read(name), 'any'))
    const transforms = readdirSync(vectorPath('json-test-suite/test_transform'))
    expect(transforms).toHaveLength(22)
    for (const name of transforms) outcome(readFileSync(vectorPath(`json-test-suite/test_transform/${name}`)), 'any')
  })

  it('canonicalJson() gives the 6 documents of RFC 8785', () => {
    const documents = readdirSync(vectorPath('jcs-rfc8785/input'))
    expect(documents).toHaveLength(6)
    for (const name of documents) {
      const value = parseStrictJson(readFileSync(vectorPath(`jcs-rfc8785/input/${name}`)), { numbers: 'any' })
      expect(canonicalJson(value)).toBe(vectorText(`jcs-rfc8785/output/${name}`))
      const hex = vectorText(`jcs-rfc8785/outhex/${name.replace('.json', '.txt')}`).replaceAll(/\s/g, '')
      expect(hexEncode(utf8Encode(canonicalJson(value)))).toBe(hex)
    }
  })
})

describe('parseStrictJson()', () => {
  it.each([
    ['a duplicate key', '{"a":1,"a":1}'],
    ['a duplicate key behind an escape', '{"a":1,"\\u0061":2}'],
    ['__proto__', '{"__proto__":{}}'],
    ['__proto__ behind an escape', '{"\\u005f_proto__":1}'],
    ['a fraction', '[1.5]'],
    ['an exponent', '[1e3]'],
    ['minus zero', '[-0]'],
    ['an integer over 2^53 - 1', '[9007199254740992]'],
    ['a lone surrogate', '["\\ud800"]'],
    ['a reversed pair', '["\\udc00\\ud800"]'],
    ['a byte order mark', '\ufeff{}'],
    ['depth 17', '['.repeat(17) + ']'.repeat(17)],
    ['text behind the document', '{} {}'],
    ['a trailing comma', '[1,]'],
    ['an empty document', ''],
    ['a control character in a string', '["\u0001"]'],
    ['a word from Object.prototype as an escape', '["\\constructor"]'],
  ])('refuses %s', (_, text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'PRIM_JSON' }))
  })

  it('refuses invalid UTF-8 and documents over the limit', () => {
    expect(() => parseStrictJson(Uint8Array.of(0x22, 0xc3, 0x28, 0x22))).toThrow(
      expect.objectContaining({ code: 'PRIM_JSON' }),
    )
    expect(() => parseStrictJson(utf8Encode('[1,2]'), { maxBytes: 4 })).toThrow(
      expect.objectContaining({ code: 'PRIM_LIMIT' }),
    )
  })

  it('accepts depth 16 and keeps names that ordinary objects inherit', () => {
    expect(() => parse('['.repeat(16) + ']'.repeat(16))).not.toThrow()
    expect(plain(parse('{"constructor":1,"toString":2,"hasOwnProperty":3}'))).toEqual({
      constructor: 1,
      toString: 2,
      hasOwnProperty: 3,
    })
  })

  it('refuses a depth that the stack would not bear', () => {
    expect(() => parseStrictJson(utf8Encode('1'), { maxDepth: 1_000_000 })).toThrow(RangeError)
  })

  it('delivers the items of one top-level list, and checks the rest as always', () => {
    const read = (text: string) => {
      const taken: string[] = []
      const value = parseStrictJson(utf8Encode(text), {
        items: { of: 'a', take: (item, index) => taken.push(`${index}:${canonicalJson(item)}`) },
      })
      return [canonicalJson(value), ...taken]
    }
    expect(read('{"a":[1,[2],{"a":[3]}],"b":{"a":[4]},"c":[5]}')).toEqual([
      '{"a":[],"b":{"a":[4]},"c":[5]}',
      '0:1',
      '1:[2]',
      '2:{"a":[3]}',
    ])
    expect(read('{"a":[ ]}')).toEqual(['{"a":[]}'])
    expect(read('{"a":{"b":1}}')).toEqual(['{"a":{"b":1}}'])
    expect(read('[{"a":[1]}]')).toEqual(['[{"a":[1]}]'])
    for (const text of [
      '{"a":[1,]}',
      '{"a":[1}',
      '{"a":[1],"a":[2]}',
      '{"a":[1]} x',
      `{"a":${'['.repeat(16)}${']'.repeat(16)}}`,
    ])
      expect(() => read(text)).toThrow(/Cannot read JSON/)
  })

  it('names the offset of what is wrong', () => {
    expect(() => parse('{"a":1,\n"b":x}')).toThrow(expect.objectContaining({ details: { offset: 12 } }))
  })

  it('reads what JSON.stringify() and canonicalJson() write', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5, noUnicodeString: false } as object), (value) => {
        const text = JSON.stringify(value)
        if (text.includes('__proto__') || /\\ud[89a-f]/i.test(text)) return
        const read = parseStrictJson(utf8Encode(text), { numbers: 'any' })
        expect(plain(read)).toEqual(plain(value))
        expect(plain(parseStrictJson(utf8Encode(canonicalJson(read)), { numbers: 'any' }))).toEqual(plain(value))
      }),
    )
  })

  it('reads any bytes or throws its own error', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => void outcome(bytes, 'any')))
  })

  it('canonicalJson() refuses what JSON cannot hold', () => {
    for (const value of [Number.NaN, Infinity, '\ud800', undefined, 1n]) {
      expect(() => canonicalJson(value as JsonValue)).toThrow(TypeError)
    }
  })
})
