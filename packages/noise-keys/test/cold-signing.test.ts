import { describe, expect, it } from 'vitest'
import { base64Encode, hexEncode, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { verifyKeyList } from '../src/index.ts'
import {
  afterPublication,
  answerSigningRequest,
  describeSigningRequest,
  draftPublication,
  formatSigningRequest,
  parseSigningRequest,
  publish,
  readSigningAnswer,
} from '../src/owner/index.ts'
import type { OwnKey, Publication } from '../src/owner/index.ts'
import { DAY_S, Peer, Publisher, START_S, summary } from './publisher.ts'
import { codeOf } from './support.ts'

/** Three dated publications of one turn: announced, cut over, retired. */
function turnInAdvance(publisher: Publisher): Publication[] {
  const drafts: Publication[] = []
  const draft = (): void => {
    const publication = draftPublication(publisher.metadata, publisher.nowS)
    drafts.push(publication)
    const keys = publisher.metadata.keys.map((key) => ({ ...key, sequence: key.sequence + 1 }))
    publisher.metadata = {
      ...publisher.metadata,
      keys,
      list: { seq: publication.list.seq, sha256: '00'.repeat(32) },
      packetUs: publication.packetTimestampUs,
    }
  }
  publisher.announce()
  draft()
  publisher.nowS += DAY_S
  publisher.cutOver()
  draft()
  publisher.nowS += 9 * DAY_S
  publisher.retire()
  draft()
  return drafts
}

describe('cold signing by file', () => {
  it('W17: shows what is signed, and signs a whole rotation in one session', async () => {
    const publisher = new Publisher()
    publisher.add('server')
    await publisher.publish()
    const peer = new Peer()
    await peer.look(publisher)
    const before = publisher.metadata
    const drafts = turnInAdvance(publisher)
    const request = formatSigningRequest(drafts)
    const added = publisher.metadata.keys.at(-1)
    const lines = describeSigningRequest(parseSigningRequest(request))
    expect(lines.join('\n')).toContain('server-v2: next')
    expect(lines.join('\n')).toContain('server: retiring (superseded), answers until 2027-')
    expect(lines.join('\n')).toContain('never again')

    const answer = answerSigningRequest(publisher.seed, request)
    for (const file of [request, answer]) {
      for (const form of [hexEncode(publisher.seed), base64Encode(publisher.seed)])
        expect(utf8Decode(file)).not.toContain(form)
    }
    const signed = readSigningAnswer(request, answer)
    const lists = signed.map(({ list }) => verifyKeyList(publisher.identity.publicKey, list))
    expect(lists.slice(1).map(({ list }) => list.prev)).toEqual(
      lists.slice(0, -1).map(({ sha256 }) => hexEncode(sha256)),
    )
    publisher.metadata = { ...before, keys: [...before.keys, { ...added, sequence: 0, state: 'next' } as OwnKey] }
    const seen: string[][] = []
    for (const publication of signed) {
      publisher.nowS = publication.atS
      await publish(publisher.directory, publication)
      publisher.metadata = afterPublication(publisher.metadata, publication)
      seen.push(summary(await peer.look(publisher)))
    }
    expect(publisher.metadata.rotationCount).toBe(1)
    expect(seen).toEqual([
      ['server: ok', 'server-v2: next NK_NOT_ACTIVE'],
      ['server-v2: ok', 'server: retiring'],
      ['server-v2: ok', 'server: retired NK_STALE'],
    ])
  })

  it('refuses damaged files, other identities, and answers to other requests', () => {
    const publisher = new Publisher()
    publisher.add('server')
    const publication = draftPublication(publisher.metadata, START_S)
    const request = formatSigningRequest([publication])
    const answer = answerSigningRequest(publisher.seed, request)
    expect(readSigningAnswer(request, answer)).toHaveLength(1)
    for (const bad of [
      '',
      '{}',
      '[]',
      '{"type":"keyturn.noise-signing-request","version":1,"publications":[]}',
      utf8Decode(request).slice(0, -9),
    ]) {
      expect(codeOf(() => parseSigningRequest(utf8Encode(bad)))).toBe('NK_REQUEST')
      expect(codeOf(() => answerSigningRequest(publisher.seed, utf8Encode(bad)))).toBe('NK_REQUEST')
    }
    expect(codeOf(() => answerSigningRequest(new Uint8Array(32).fill(1), request))).toBe('NK_IDENTITY')
    expect(
      codeOf(() =>
        answerSigningRequest(publisher.seed, formatSigningRequest([{ ...publication, records: [{}] } as never])),
      ),
    ).toMatch(/^NK_(REQUEST|DEVICE_ID|RECORD)$/)
    for (const packetTimestampUs of ['18000000009007199254740993000000', '-1', '', '1e9', '0']) {
      expect(
        codeOf(() =>
          answerSigningRequest(publisher.seed, formatSigningRequest([{ ...publication, packetTimestampUs }])),
        ),
      ).toBe('NK_RECORD')
    }
    const { seq: _seq, ...withoutNumber } = publication.list
    expect(
      codeOf(() =>
        answerSigningRequest(publisher.seed, formatSigningRequest([{ ...publication, list: withoutNumber } as never])),
      ),
    ).toBe('NK_RECORD')
    const other = formatSigningRequest([{ ...publication, atS: START_S + 1 }])
    expect(codeOf(() => readSigningAnswer(other, answer))).toBe('NK_REQUEST')
    expect(codeOf(() => readSigningAnswer(request, request))).toBe('NK_REQUEST')
    const text = utf8Decode(answer)
    expect(codeOf(() => readSigningAnswer(request, utf8Encode(text.replace('seq=1', 'seq=2'))))).toMatch(
      /^NK_(BINDING_SIGNATURE|RECORD)$/,
    )
    expect(codeOf(() => readSigningAnswer(request, utf8Encode(text.replace('"server"', '"other"'))))).toBe('NK_REQUEST')
  })
})
