import { expect, it } from 'vitest'
import fc from 'fast-check'
import { utf8Decode, utf8Encode } from '@keyturn/primitives'
import { ManifestError, parseHeadEnvelope, parseLogEntry } from '../src/index.ts'
import { formatLogEntry, offerDigest } from '../src/publish/index.ts'
import type { LogEntry } from '../src/index.ts'
import { Publisher } from './support/publisher.ts'

const entry: LogEntry = { type: 'release', product: 'metin2', channel: 'stable', number: 2, sha256: 'ab'.repeat(32) }

it('an entry has one spelling, which reads back, and every other text is refused', () => {
  const bytes = formatLogEntry(entry)
  expect(utf8Decode(bytes)).toBe(`keyturn-log/v1\nrelease\nmetin2\nstable\n2\n${'ab'.repeat(32)}\n`)
  expect(parseLogEntry(bytes)).toEqual(entry)
  const roles: LogEntry = { ...entry, type: 'roles', channel: '-' }
  expect(parseLogEntry(formatLogEntry(roles))).toEqual(roles)
  const refused = expect.objectContaining({ code: 'MAN_LOG_ENTRY' }) as unknown
  const text = utf8Decode(bytes)
  const bad = ['', text.slice(0, -1), `${text}\n`, text.replace('v1', 'v2'), text.replace('release', 'other')]
  bad.push(text.replace('\n2\n', '\n02\n'), text.replace('metin2', 'Metin 2'))
  bad.push(text.replace('ab', 'AB'), text.replace('release', 'roles'), `${text}${'x'.repeat(600)}`)
  for (const each of bad) expect(() => parseLogEntry(utf8Encode(each)), each).toThrow(refused)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      try {
        expect(formatLogEntry(parseLogEntry(noise))).toEqual(noise)
      } catch (error) {
        expect(error).toBeInstanceOf(ManifestError)
      }
    }),
  )
})

it('offerDigest() is the same for a renewed head, and another one for another offer', async () => {
  const publisher = await Publisher.create()
  const made = await publisher.manifest()
  const digest = async (edit?: Parameters<Publisher['head']>[1]): Promise<string> =>
    offerDigest(parseHeadEnvelope(await publisher.head(made, edit)).payload)
  const first = await digest()
  expect(await digest()).toBe(first)
  const mirror = { url: 'https://mirror.example/', weight: 1 }
  expect(await digest({ edit: (head) => ({ ...head, mirrors: [mirror] }) })).not.toBe(first)
  expect(() => offerDigest(utf8Encode('[]'))).toThrow(expect.objectContaining({ code: 'MAN_SCHEMA' }))
})
