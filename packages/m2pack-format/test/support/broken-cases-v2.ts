import { concatBytes, sha256 } from '@keyturn/primitives'
import type { EntryRecord } from '../../src/entries.ts'
import type { M2pErrorCode } from '../../src/errors.ts'
import { edit, flip, u32, u64 } from './edit-bytes.ts'
import { SlotKey } from '../../src/keys.ts'
import { FileCipher } from '../../src/segment.ts'
import type { BrokenCase } from './broken-cases.ts'
import { craft, slots, text } from './craft.ts'
import { craft2, plainFiles2, runFrame } from './craft-v2.ts'
import type { CraftOptions2 } from './craft-v2.ts'

const cases: BrokenCase[] = []
const add = (name: string, code: M2pErrorCode, bytes: Uint8Array): void => void cases.push({ name, code, bytes })
const broken = (name: string, code: M2pErrorCode, options: CraftOptions2): void => add(name, code, craft2(options))

const sound = craft2()
const manifestAt = Number(new DataView(sound.buffer).getBigUint64(16, true))
/** Where entries start: preamble and two slots. */
const TABLE = 64 + 2 * 76
const ONE = { fields: TABLE + 2 + 9, segments: TABLE + 2 + 9 + 52 }
const RUN = TABLE + 54 + 9 + 32
const BIG = RUN + 54 + 5 + 32
const big = { fields: BIG + 2 + 3, segments: BIG + 2 + 3 + 52 }

function headers(): void {
  for (const cut of [0, 8, 12, 127, 128, 150, manifestAt - 1, manifestAt, manifestAt + 63, sound.length - 1])
    add(`cut at ${cut}`, 'M2P_TRUNCATED', sound.slice(0, cut))
  broken('version 3', 'M2P_VERSION', { archive: u32(8, 3) })
  broken('version 1 in the header', 'M2P_HEADER', { version: 1 })
  broken('version 1 in the manifest', 'M2P_HEADER', { manifest: u32(4, 1) })
  add('version 2 over an archive of version 1', 'M2P_HEADER', u32(8, 2)(craft() as Uint8Array<ArrayBuffer>))
  broken('manifest hash', 'M2P_MANIFEST_HASH', { archive: flip(32) })
  broken('signature', 'M2P_SIGNATURE', { archive: flip(64) })
  for (const at of [0, 16, 28, TABLE, big.segments])
    broken(`manifest byte ${at} changed after signing`, 'M2P_MANIFEST_HASH', { archive: flip(manifestAt + at) })
  broken('byte after the archive', 'M2P_TRAILING', { archive: (bytes) => concatBytes(bytes, new Uint8Array(1)) })
}

function preambles(): void {
  for (const size of [0, 32_768, 65_537, 8_388_608, 16_777_216])
    broken(`segment size ${size}`, 'M2P_HEADER', { manifest: u32(16, size) })
  for (const flags of [1, 3, 5, 8, 0x8000_0000]) broken(`flags ${flags}`, 'M2P_HEADER', { manifest: u32(20, flags) })
  broken('times said to be there', 'M2P_SIZE', { manifest: u32(20, 4) })
  for (const align of [0, 3, 2_097_152, 0x8000_0000])
    broken(`alignment ${align}`, 'M2P_HEADER', { manifest: u32(28, align) })
  broken('alignment that is not kept', 'M2P_TOC', { manifest: u32(28, 64) })
  broken('entry count 1000001', 'M2P_LIMIT', { manifest: u32(12, 1_000_001) })
  for (const count of [0, 2, 4]) broken(`entry count ${count}`, 'M2P_TOC', { manifest: u32(12, count) })
  broken('commitment', 'M2P_KEY_COMMITMENT', { manifest: flip(32) })
  broken('slot', 'M2P_DECRYPT', { manifest: flip(92) })
}

function entries(): void {
  broken('path of no bytes', 'M2P_PATH', { manifest: edit((_, view) => view.setUint16(TABLE, 0, true)) })
  broken('path that leaves', 'M2P_PATH', { files: [{ path: '../x', parts: [{ bytes: text('x') }] }] })
  broken('path twice', 'M2P_PATH_COLLISION', {
    files: ['x', 'x'].map((path) => ({ path, parts: [{ bytes: text('x') }] })),
  })
  broken('paths not in order', 'M2P_TOC', {
    files: ['b', 'a'].map((path) => ({ path, parts: [{ bytes: text('x') }] })),
  })
  for (const size of [64n * 2n ** 30n + 1n, 2n ** 53n, 2n ** 64n - 1n])
    broken(`size ${size}`, 'M2P_LIMIT', { manifest: u64(ONE.fields, size) })
  for (const size of [23n, 25n]) broken(`size ${size} of 24`, 'M2P_SIZE', { manifest: u64(ONE.fields, size) })
  broken('slot that is not carried', 'M2P_TOC', { manifest: u32(ONE.fields + 8, 3) })
  broken('slot of another file', 'M2P_DECRYPT', { manifest: u32(ONE.fields + 8, 2) })
  broken('compression 2', 'M2P_HEADER', { manifest: edit((bytes) => void (bytes[ONE.fields + 12] = 2)) })
  broken('compressed without a frame', 'M2P_SIZE', { manifest: flip(ONE.fields + 12) })
  broken('frames that are not said', 'M2P_SIZE', { manifest: flip(big.fields + 12) })
  for (const bit of [1, 2, 4, 8, 16, 32, 64, 128].slice(1))
    broken(`attribute ${bit}`, 'M2P_HEADER', { manifest: edit((bytes) => void (bytes[ONE.fields + 13] = bit)) })
  for (const at of [14, 15])
    broken(`reserved byte ${at - 13}`, 'M2P_HEADER', { manifest: edit((bytes) => void (bytes[ONE.fields + at] = 1)) })
  broken('digest', 'M2P_HASH', { manifest: flip(ONE.fields + 16) })
  const timed = { files: plainFiles2().map((file) => ({ ...file, mtimeMs: 1 })), head: { mtimes: true } }
  for (const time of [253_402_300_800_000n, 2n ** 53n, 2n ** 64n - 1n])
    broken(`time ${time}`, 'M2P_TOC', { ...timed, manifest: u64(ONE.fields + 52, time) })
  broken('manifest cut in the last entry', 'M2P_TOC', { manifest: (bytes) => bytes.slice(0, -1) })
  broken('byte after the last entry', 'M2P_TOC', { manifest: (bytes) => concatBytes(bytes, new Uint8Array(1)) })
}

const onBig = (change: (record: EntryRecord) => Partial<EntryRecord>): Pick<CraftOptions2, 'records'> => ({
  records: (records) =>
    records.map((record) => (record.segments.length > 32 ? { ...record, ...change(record) } : record)),
})
const record = (bytes: Uint8Array, index: number): Uint8Array => bytes.subarray(index * 32, index * 32 + 32)

function segments(): void {
  broken('no segments', 'M2P_TOC', { manifest: u32(ONE.fields + 48, 0) })
  broken('segment count 2 of 3', 'M2P_SIZE', { manifest: u32(big.fields + 48, 2) })
  broken('segment count 4294967295', 'M2P_TOC', { manifest: u32(big.fields + 48, 0xffff_ffff) })
  broken('segment shorter than a quarter', 'M2P_SIZE', { manifest: u32(big.segments, 16_383) })
  broken('segment of no bytes', 'M2P_SIZE', { manifest: u32(big.segments, 0) })
  broken('segment longer than four times', 'M2P_SIZE', { manifest: u32(big.segments, 262_145) })
  broken('lengths that do not add up', 'M2P_SIZE', { manifest: u32(big.segments, 16_385) })
  broken('lengths exchanged', 'M2P_SIZE', {
    manifest: edit((_, view) => {
      view.setUint32(big.segments, 20_000, true)
      view.setUint32(big.segments + 32, 16_384, true)
    }),
  })
  broken('lengths shifted by one', 'M2P_SIZE', {
    manifest: edit((_, view) => {
      view.setUint32(big.segments, 16_385, true)
      view.setUint32(big.segments + 32, 19_999, true)
    }),
  })
  for (const stored of [0, 15, 16, 25, 41])
    broken(`stored size ${stored} of 24 bytes`, 'M2P_SIZE', {
      manifest: u32(ONE.segments + 4, stored),
    })
  broken('empty last segment', 'M2P_SIZE', {
    files: [{ path: 'x', parts: [{ bytes: runFrame(97, 16_384), size: 16_384 }, { bytes: new Uint8Array(0) }] }],
  })
  const swapped = ({ segments: all }: EntryRecord): Partial<EntryRecord> => ({
    segments: concatBytes(record(all, 1), record(all, 0), record(all, 2)),
  })
  broken('records swapped', 'M2P_DECRYPT', onBig(swapped))
  broken(
    'record repeated',
    'M2P_SIZE',
    onBig(({ segments: all }) => ({ segments: concatBytes(all, record(all, 2)) })),
  )
  broken(
    'last record dropped',
    'M2P_SIZE',
    onBig(({ segments: all }) => ({ segments: all.slice(0, 64) })),
  )
  broken('nonce', 'M2P_DECRYPT', { manifest: flip(ONE.segments + 8) })
}

function payloads(): void {
  for (const at of [0, 23, 24, 39]) broken(`payload byte ${at}`, 'M2P_DECRYPT', { payload: flip(at) })
  broken('last tag', 'M2P_DECRYPT', { payload: flip(-1) })
  broken('payload cut', 'M2P_TOC', { payload: (payload) => payload.slice(0, -1) })
  broken('payload longer', 'M2P_TOC', { payload: (payload) => concatBytes(payload, new Uint8Array(1)) })
  broken('records and payloads swapped', 'M2P_HASH', {
    ...onBig(({ segments: all }) => ({ segments: concatBytes(record(all, 1), record(all, 0), record(all, 2)) })),
    payload: (payload) => {
      const at = payload.length - 2 * 27 - 24
      const [first, second] = [payload.slice(at, at + 27), payload.slice(at + 27, at + 54)]
      return concatBytes(payload.subarray(0, at), second, first, payload.subarray(at + 54))
    },
  })
  // Forged by someone who holds the content key: the tag is right, the nonce is not the one that the content gives.
  let stored: Uint8Array = new Uint8Array(0)
  broken('forged by a holder of the content key', 'M2P_NONCE', {
    records: (records) => {
      const { pathBytes, segments: all } = records[0] as EntryRecord
      const cipher = new FileCipher(new SlotKey(slots.get(1) as Uint8Array), pathBytes)
      stored = cipher.sealUnder(0, text('evil! file, first folder'), all.subarray(8, 32))
      return records
    },
    payload: (payload) => concatBytes(stored, payload.subarray(stored.length)),
  })
  broken('padding that is not zero', 'M2P_PADDING', {
    files: ['a', 'b'].map((path) => ({ path, parts: [{ bytes: text('x') }] })),
    head: { align: 64 },
    payload: (payload) => {
      const padded = new Uint8Array(64 + 17)
      padded.set(payload.subarray(0, 17))
      padded[20] = 1
      padded.set(payload.subarray(17), 64)
      return padded
    },
  })
}

function frames(): void {
  const wrong = (name: string, code: M2pErrorCode, bytes: Uint8Array): void =>
    broken(`frame ${name}`, code, { files: [{ path: 'x', parts: [{ bytes, size: 300 }] }] })
  const good = runFrame(97, 300)
  wrong('of garbage', 'M2P_ZSTD', text('not a frame'))
  wrong('that is cut', 'M2P_ZSTD', good.slice(0, -1))
  wrong('followed by a byte', 'M2P_ZSTD', concatBytes(good, new Uint8Array(1)))
  wrong('of other length', 'M2P_SIZE', runFrame(97, 301))
  broken('frame of other content', 'M2P_HASH', {
    files: [{ path: 'x', parts: [{ bytes: good, size: 300 }], digest: sha256(new Uint8Array(300)) }],
  })
}

/** What both versions have in common, once more where version 2 reads it. */
function common(): void {
  broken('key_id 0', 'M2P_HEADER', { archive: u32(12, 0) })
  broken('manifest offset in the header', 'M2P_HEADER', { archive: u64(16, 127n) })
  broken('manifest size over the limit', 'M2P_LIMIT', { archive: u64(24, 2n ** 26n + 1n) })
  broken('manifest tag', 'M2P_HEADER', { manifest: flip(0) })
  broken('manifest key_id', 'M2P_HEADER', { manifest: u32(8, 8) })
  broken('slot count 1025', 'M2P_LIMIT', { manifest: u32(24, 1025) })
  broken('slot count one too high', 'M2P_TOC', { manifest: u32(24, 3) })
  broken('slots descending', 'M2P_TOC', { manifest: u32(64, 3) })
  broken('slot number 0', 'M2P_TOC', { manifest: u32(64, 0) })
  const sealed = { head: { sealed: true } }
  broken('sealed table cut', 'M2P_TOC', { ...sealed, manifest: (bytes) => bytes.slice(0, TABLE + 39) })
  broken('sealed table nonce', 'M2P_DECRYPT', { ...sealed, manifest: flip(TABLE) })
  broken('sealed table ciphertext', 'M2P_DECRYPT', { ...sealed, manifest: flip(TABLE + 24) })
  broken('sealed table under another preamble', 'M2P_DECRYPT', { ...sealed, manifest: u32(16, 131_072) })
  broken('sealed table said to be open', 'M2P_TOC', { ...sealed, manifest: u32(20, 0) })
}

/** Every broken archive of version 2. */
export function brokenCases2(): readonly BrokenCase[] {
  if (cases.length > 0) return cases
  for (const family of [headers, preambles, entries, segments, payloads, frames, common]) family()
  return cases
}
