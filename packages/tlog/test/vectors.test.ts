import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { base64Encode, hexDecode, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  formatNote,
  LogWitness,
  memoryWitnessStore,
  parseNote,
  parseVerifierKey,
  parseWitnessRequest,
  seedNoteSigner,
  signText,
  TlogError,
  verifierKey,
  verifyCheckpoint,
  verifyNote,
  WitnessConflict,
} from '../src/index.ts'
import type { TlogErrorCode, WatchedLog } from '../src/index.ts'

function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`vectors/${name}`, import.meta.url), 'utf8')) as T
}

interface WitnessVectors {
  readonly logs: readonly { readonly origin: string; readonly publicKey?: string; readonly vkey?: string }[]
  readonly requests: readonly { readonly body: string; readonly status: number; readonly says: string }[]
}

const published = vectors<WitnessVectors>('witness-requests.json')
const signer = seedNoteSigner('example.com/witness', 'cosignature', new Uint8Array(32).fill(7))
const logs = published.logs.map(({ origin, publicKey, vkey }): WatchedLog => ({
  origin,
  keys: [vkey === undefined ? verifierKey(origin, 'note', hexDecode(publicKey ?? '')) : parseVerifierKey(vkey)],
}))

/** Statuses of c2sp.org/tlog-witness; a log that is not watched is 404 there and was 403 when the vectors were made. */
const STATUS: Partial<Record<TlogErrorCode, number>> = {
  TLOG_SIGNATURE: 403,
  TLOG_UNKNOWN_LOG: 403,
  TLOG_CONSISTENCY: 422,
  TLOG_CONFLICT: 409,
}

it('LogWitness answers the published requests of litewitness as it does', async () => {
  const witness = new LogWitness(signer, logs, memoryWitnessStore(), { clock: () => 1_700_000_000_000 })
  let ran = 0
  for (const { body, status, says } of published.requests) {
    const answer = await witness.add(utf8Encode(body)).then(
      (signature) => ({ status: 200, signature }),
      (error: unknown) => {
        if (!(error instanceof TlogError)) throw error
        return { status: STATUS[error.code] ?? 400, size: error instanceof WitnessConflict ? error.size : undefined }
      },
    )
    // One signature has a second spelling of its base64, which is refused as malformed before any key is tried.
    const malformed = body.includes('WVrx6gx=') ? 400 : status
    expect(answer.status, body).toBe(malformed)
    if ('signature' in answer) {
      const { checkpoint } = parseWitnessRequest(utf8Encode(body))
      const { text } = parseNote(checkpoint)
      const [verified] = verifyNote({ text, signatures: [answer.signature] }, [signer.key])
      expect(verified?.timestamp).toBe(1_700_000_000)
    } else if (answer.size !== undefined) {
      expect(says).toBe(`body == "${answer.size}\\n"`)
    }
    ran += 1
  }
  expect(ran).toBe(10)
})

it('a checkpoint of the public Go checksum database verifies, and a changed one does not', () => {
  const [, go] = logs
  const body = published.requests.at(-1)?.body ?? ''
  const { checkpoint } = parseWitnessRequest(utf8Encode(body))
  const key = go!.keys[0]!
  const verified = verifyCheckpoint(checkpoint, key, { origin: 'go.sum database tree' })
  expect(verified.size).toBe(35_225_469)
  expect(base64Encode(verified.root)).toBe('vt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=')
  // Its origin is not the name of its key, so that has to be said.
  expect(() => verifyCheckpoint(checkpoint, key)).toThrow(expect.objectContaining({ code: 'TLOG_CHECKPOINT' }))
  for (const [from, to] of [
    ['35225469', '35225470'],
    ['vt5T', 'vt5U'],
    ['database', 'databass'],
    ['Az3grpuk', 'Az3grpul'],
  ]) {
    const changed = utf8Encode(utf8Decode(checkpoint).replace(from!, to!))
    expect(() => verifyCheckpoint(changed, key, { origin: 'go.sum database tree' }), to).toThrow(
      expect.objectContaining({ code: 'TLOG_SIGNATURE' }),
    )
  }
})

it('published notes verify, and signing their texts gives the same bytes', async () => {
  const notes =
    vectors<readonly { readonly vkey: string; readonly note: string; readonly seed?: string }[]>('notes.json')
  for (const { vkey, note, seed } of notes) {
    const parsed = parseNote(utf8Encode(note))
    const key = parseVerifierKey(vkey)
    expect(verifyNote(parsed, [key])).toHaveLength(1)
    if (seed === undefined) continue
    const again = await signText(parsed.text, seedNoteSigner(key.name, 'note', hexDecode(seed)))
    expect(utf8Decode(formatNote({ text: parsed.text, signatures: [again] }))).toBe(note)
  }
  expect(notes).toHaveLength(2)
})

it('parseVerifierKey() refuses every part and every changed character of a published key', () => {
  const vkey = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'
  const refused = expect.objectContaining({ code: 'TLOG_VKEY' }) as unknown
  expect(parseVerifierKey(vkey).name).toBe('PeterNeumann')
  for (let start = 0; start < vkey.length; start++) {
    for (let end = start + 1; end <= vkey.length; end++) {
      if (end - start < vkey.length) expect(() => parseVerifierKey(vkey.slice(start, end))).toThrow(refused)
    }
    const next = String.fromCharCode(vkey.charCodeAt(start) + 1)
    expect(() => parseVerifierKey(vkey.slice(0, start) + next + vkey.slice(start + 1))).toThrow(refused)
  }
  // Wrong length and unknown type, each with an id that fits.
  expect(() => parseVerifierKey('PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==')).toThrow(
    refused,
  )
  expect(() => parseVerifierKey('PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW')).toThrow(refused)
  expect(() => verifierKey('low order', 'note', new Uint8Array(32))).toThrow(refused)
  expect(() => verifierKey('low.example', 'note', new Uint8Array(32))).toThrow(refused)
})
