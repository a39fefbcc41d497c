import { describe, expect, it } from 'vitest'
import { base64Encode, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  addSignatures,
  formatNote,
  formatSignatureLine,
  parseCheckpoint,
  parseNote,
  seedNoteSigner,
  signText,
  verifyNote,
} from '../src/index.ts'
import { MAX_NOTE_BYTES, MAX_SIGNATURES } from '../src/limits.ts'

const code = (name: string): unknown => expect.objectContaining({ code: name })
const log = seedNoteSigner('log.example', 'note', new Uint8Array(32).fill(1))
const witness = seedNoteSigner('w.example', 'cosignature', new Uint8Array(32).fill(2))
const text = `log.example\n1\n${base64Encode(new Uint8Array(32).fill(5))}\n`

async function signedBy(...signers: readonly (typeof log)[]): Promise<string> {
  const lines = await Promise.all(signers.map((signer) => signText(text, signer, 1000)))
  return utf8Decode(formatNote({ text, signatures: lines }))
}

describe('notes', () => {
  it('parseNote() refuses bytes that are not a note: no signatures, no final newline, control characters, other lines', async () => {
    const note = await signedBy(log)
    const [line = ''] = note.split('\n\n')[1]!.split('\n')
    const bad = [
      text,
      `${text}\n`,
      note.slice(0, -1),
      `\u0001${note}`,
      note.replace('\n', '\r\n'),
      `${note}other\n`,
      note.replace('— log', '- log'),
    ]
    bad.push(
      note.replace('— log.example', '— log example'),
      note.replace('log.example ', 'log+example '),
      `${text}\n${line.slice(0, -4)}=\n`,
    )
    for (const each of bad) expect(() => parseNote(utf8Encode(each)), JSON.stringify(each)).toThrow(code('TLOG_NOTE'))
    expect(() => parseNote(Uint8Array.of(0xff, 0xfe))).toThrow(code('TLOG_NOTE'))
    const many = `${text}\n${`${line}\n`.repeat(MAX_SIGNATURES + 1)}`
    expect(() => parseNote(utf8Encode(many))).toThrow(code('TLOG_LIMIT'))
    expect(() => parseNote(new Uint8Array(MAX_NOTE_BYTES + 1))).toThrow(code('TLOG_LIMIT'))
    expect(parseNote(utf8Encode(`${text}\n${`${line}\n`.repeat(MAX_SIGNATURES)}`)).signatures).toHaveLength(
      MAX_SIGNATURES,
    )
  })

  it('the last empty line ends the text, and texts may have empty lines of their own', async () => {
    const poem = 'one\n\ntwo\n'
    const note = formatNote({ text: poem, signatures: [await signText(poem, log)] })
    expect(parseNote(note).text).toBe(poem)
    expect(verifyNote(parseNote(note), [log.key])).toHaveLength(1)
  })

  it('verifyNote() ignores unknown keys, counts a key once, and refuses the note when a known key lies', async () => {
    const note = parseNote(utf8Encode(await signedBy(log, witness)))
    expect(verifyNote(note, [log.key]).map(({ key }) => key.name)).toEqual(['log.example'])
    expect(verifyNote(note, [witness.key])[0]?.timestamp).toBe(1000)
    const twice = { text, signatures: [...note.signatures, ...note.signatures] }
    expect(verifyNote(twice, [log.key, witness.key])).toHaveLength(2)
    const other = seedNoteSigner('log.example', 'note', new Uint8Array(32).fill(3))
    expect(() => verifyNote(note, [other.key])).toThrow(code('TLOG_SIGNATURE'))
    expect(() => verifyNote(note, [])).toThrow(code('TLOG_SIGNATURE'))
    const lying = { ...note.signatures[0]!, signature: new Uint8Array(64) }
    expect(() => verifyNote({ text, signatures: [...note.signatures, lying] }, [log.key])).toThrow(
      code('TLOG_SIGNATURE'),
    )
    // A known key lies and another does not: still the whole note.
    const short = { ...note.signatures[1]!, signature: new Uint8Array(71) }
    const mixed = { text, signatures: [note.signatures[0]!, short] }
    expect(() => verifyNote(mixed, [log.key, witness.key])).toThrow(code('TLOG_SIGNATURE'))
    const future = { ...note.signatures[1]!, signature: new Uint8Array(72).fill(0xff) }
    expect(() => verifyNote({ text, signatures: [future] }, [witness.key])).toThrow(code('TLOG_SIGNATURE'))
  })

  it('a cosignature is over its time too, and no plain signature', async () => {
    const line = await signText(text, witness, 1000)
    const later = new Uint8Array(line.signature)
    later[7]! ^= 1
    expect(() => verifyNote({ text, signatures: [{ ...line, signature: later }] }, [witness.key])).toThrow(
      code('TLOG_SIGNATURE'),
    )
    const plain = { ...line, signature: line.signature.subarray(8) }
    expect(() => verifyNote({ text, signatures: [plain] }, [witness.key])).toThrow(code('TLOG_SIGNATURE'))
  })

  it('addSignatures() replaces the line of the same key and keeps the others', async () => {
    const note = parseNote(utf8Encode(await signedBy(log, witness)))
    const newer = await signText(text, witness, 2000)
    const added = addSignatures(note, [newer])
    expect(added.signatures).toHaveLength(2)
    expect(verifyNote(added, [witness.key])[0]?.timestamp).toBe(2000)
    expect(formatSignatureLine(newer)).toMatch(/^— w\.example [A-Za-z0-9+/=]+\n$/u)
  })
})

describe('checkpoints', () => {
  it('parseCheckpoint() refuses other sizes, hashes and lines than the format has', () => {
    const root = base64Encode(new Uint8Array(32))
    expect(parseCheckpoint(`o\n7\n${root}\nextension\n`).extensions).toEqual(['extension'])
    const bad = [
      '',
      '\n',
      'o\n',
      `o\n7\n`,
      `\n7\n${root}\n`,
      `o\n07\n${root}\n`,
      `o\n-1\n${root}\n`,
      `o\n1e3\n${root}\n`,
      `o\n7\n${root}`,
      `o\n7\n${root.slice(4)}\n`,
    ]
    bad.push(
      `o\n9007199254740992\n${root}\n`,
      `o\n7\n${root}\n\n`,
      `o\n7\n${root}\n\nx\n`,
      `o\n0\n${root}\n`,
      ` \n7\n${root} \n`,
    )
    for (const each of bad) expect(() => parseCheckpoint(each), JSON.stringify(each)).toThrow(code('TLOG_CHECKPOINT'))
    expect(() => parseCheckpoint(`o\n7\n${root}\n${'x\n'.repeat(17)}`)).toThrow(code('TLOG_LIMIT'))
    expect(() => parseCheckpoint(`${'o'.repeat(256)}\n7\n${root}\n`)).toThrow(code('TLOG_LIMIT'))
  })
})
