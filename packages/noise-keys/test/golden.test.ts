import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { base64Decode, base64Encode, utf8Decode } from '@keyturn/primitives'
import {
  answerSigningRequest,
  draftPublication,
  formatMetadata,
  formatSigningRequest,
  parseMetadata,
  readSigningAnswer,
} from '../src/owner/index.ts'
import { verifyKeys, KeyFloors } from '../src/reader/index.ts'
import { relayPayload, verifyPacket } from '../src/pkarr/index.ts'
import { Publisher, START_S, summary } from './publisher.ts'

// Files of every format this package writes, in its first version. Later versions must read them; they are never
// written again. A missing file is written once, by a run with KEYTURN_WRITE_GOLDEN=1.
const folder = new URL('./golden/v1/', import.meta.url)
const path = (name: string): URL => new URL(name, folder)

async function make(): Promise<Record<string, Uint8Array | string>> {
  const publisher = new Publisher()
  publisher.add('server')
  await publisher.publish()
  publisher.nowS += 86_400
  publisher.announce()
  publisher.cutOver()
  publisher.revoke('server', 'lost')
  await publisher.publish('revocation')
  const { records, list, packet } = await publisher.directory.read(publisher.identity)
  const floors = new KeyFloors()
  verifyKeys(publisher.identity, { records, list: list as Uint8Array, packet: packet as never }, floors, {
    nowS: publisher.nowS,
  })
  const request = formatSigningRequest([draftPublication(publisher.metadata, publisher.nowS + 5)])
  return {
    'record-active.txt': records.get('server-v2') ?? '',
    'record-revoked.txt': records.get('server') ?? '',
    keys: list as Uint8Array,
    'packet.base64': base64Encode(relayPayload(packet as never)),
    'metadata.json': formatMetadata(publisher.metadata),
    'floors.json': floors.format(),
    'signing-request.json': request,
    'signing-answer.json': answerSigningRequest(publisher.seed, request),
  }
}

describe('golden files', () => {
  it('of version 1 are read, and would be written the same', async () => {
    const made = await make()
    for (const [name, content] of Object.entries(made)) {
      if (process.env['KEYTURN_WRITE_GOLDEN'] === '1' && !existsSync(path(name))) {
        mkdirSync(folder, { recursive: true })
        writeFileSync(path(name), content)
      }
      expect([name, readFileSync(path(name), 'utf8')]).toEqual([
        name,
        typeof content === 'string' ? content : utf8Decode(content),
      ])
    }
    const publisher = new Publisher()
    const read = (name: string): Uint8Array => Uint8Array.from(readFileSync(path(name)))
    const packet = verifyPacket(publisher.identity.publicKey, base64Decode(utf8Decode(read('packet.base64'))))
    const records = new Map([
      ['server-v2', utf8Decode(read('record-active.txt'))],
      ['server', utf8Decode(read('record-revoked.txt'))],
    ])
    const verdicts = verifyKeys(
      publisher.identity,
      { records, list: read('keys'), packet },
      KeyFloors.parse(read('floors.json')),
      { nowS: START_S + 86_400 },
    )
    expect(summary(verdicts)).toEqual(['server-v2: ok', 'server: revoked NK_REVOKED'])
    expect(parseMetadata(read('metadata.json')).keys).toHaveLength(2)
    expect(readSigningAnswer(read('signing-request.json'), read('signing-answer.json'))).toHaveLength(1)
  })
})
