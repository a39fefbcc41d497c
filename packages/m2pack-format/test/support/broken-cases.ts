import { concatBytes, ed25519Sign, hexDecode, sha256 } from '@keyturn/primitives'
import { zstdCompressSync } from 'node:zlib'
import type { EntryRecord } from '../../src/entries.ts'
import type { M2pErrorCode } from '../../src/errors.ts'
import { segmentRecord } from '../../src/segment-record.ts'
import { contentKey, craft, plainFiles, seed, slots, text } from './craft.ts'
import type { CraftFile, CraftOptions } from './craft.ts'
import { edit, flip, u32, u64 } from './edit-bytes.ts'
import { SlotKey } from '../../src/keys.ts'
import { FileCipher } from '../../src/segment.ts'

/** One archive with one fault. */
export interface BrokenCase {
  readonly name: string
  readonly code: M2pErrorCode
  readonly bytes: Uint8Array
}

const cases: BrokenCase[] = []
const add = (name: string, code: M2pErrorCode, bytes: Uint8Array): void => void cases.push({ name, code, bytes })
const broken = (name: string, code: M2pErrorCode, options: CraftOptions): void => add(name, code, craft(options))

const sound = craft()
const manifestAt = Number(new DataView(sound.buffer).getBigUint64(16, true))

function truncations(): void {
  const cuts = [
    0,
    1,
    7,
    8,
    11,
    12,
    15,
    16,
    23,
    24,
    31,
    32,
    63,
    64,
    127,
    128,
    129,
    manifestAt - 1,
    manifestAt,
    manifestAt + 63,
    sound.length - 1,
  ]
  for (const cut of cuts) add(`cut at ${cut}`, 'M2P_TRUNCATED', sound.slice(0, cut))
}

function headers(): void {
  for (let at = 0; at < 8; at++) broken(`magic byte ${at}`, 'M2P_MAGIC', { archive: flip(at) })
  broken('magic in lower case', 'M2P_MAGIC', { archive: edit((bytes) => bytes.set(text('m2pack2'), 0)) })
  for (const version of [0, 3, 0xffff, 0xffff_ffff])
    broken(`version ${version}`, 'M2P_VERSION', { archive: u32(8, version) })
  broken('key_id 0', 'M2P_HEADER', { archive: u32(12, 0) })
  broken('key_id without verifier', 'M2P_KEY_ID_UNKNOWN', { archive: u32(12, 99) })
  broken('key_id of another verifier', 'M2P_HEADER', { archive: u32(12, 8) })
  broken('key_id 8 throughout', 'M2P_KEY_ID_MISMATCH', { keyId: 8 })
  for (const offset of [0n, 127n]) broken(`manifest offset ${offset}`, 'M2P_HEADER', { archive: u64(16, offset) })
  broken('manifest offset one too low', 'M2P_MANIFEST_HASH', { archive: u64(16, BigInt(manifestAt - 1)) })
  broken('manifest offset one too high', 'M2P_TRUNCATED', { archive: u64(16, BigInt(manifestAt + 1)) })
  broken('manifest offset at the end', 'M2P_TRUNCATED', { archive: u64(16, BigInt(sound.length)) })
  for (const offset of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])
    broken(`manifest offset ${offset}`, 'M2P_LIMIT', { archive: u64(16, offset) })
  for (const size of [0n, 63n]) broken(`manifest size ${size}`, 'M2P_HEADER', { archive: u64(24, size) })
  broken('manifest size one too low', 'M2P_MANIFEST_HASH', { archive: u64(24, BigInt(sound.length - manifestAt - 1)) })
  broken('manifest size one too high', 'M2P_TRUNCATED', { archive: u64(24, BigInt(sound.length - manifestAt + 1)) })
  for (const size of [2n ** 26n + 1n, 2n ** 32n - 1n, 2n ** 53n, 2n ** 64n - 1n])
    broken(`manifest size ${size}`, 'M2P_LIMIT', { archive: u64(24, size) })
  for (const at of [32, 47, 63]) broken(`manifest hash byte ${at - 32}`, 'M2P_MANIFEST_HASH', { archive: flip(at) })
}

function signatures(): void {
  const L = 2n ** 252n + 27742317777372353535851937790883648493n
  for (const at of [64, 95, 96, 127]) broken(`signature byte ${at - 64}`, 'M2P_SIGNATURE', { archive: flip(at) })
  broken('signature all zero', 'M2P_SIGNATURE', { signature: () => new Uint8Array(64) })
  broken('signature of another archive', 'M2P_SIGNATURE', {
    signature: () => ed25519Sign(seed, text('another manifest')),
  })
  broken('signature by another key', 'M2P_SIGNATURE', {
    signature: (manifest) => ed25519Sign(new Uint8Array(32).fill(9), manifest),
  })
  broken('signature over the hash', 'M2P_SIGNATURE', { signature: (manifest) => ed25519Sign(seed, sha256(manifest)) })
  broken('signature with S plus L', 'M2P_SIGNATURE', {
    signature: (manifest) => {
      const signature = ed25519Sign(seed, manifest)
      let s = 0n
      for (let at = 63; at >= 32; at--) s = (s << 8n) | BigInt(signature[at] as number)
      s += L
      for (let at = 32; at < 64; at++, s >>= 8n) signature[at] = Number(s & 255n)
      return signature
    },
  })
  const lowOrder = [
    '0100000000000000000000000000000000000000000000000000000000000000',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
    '0000000000000000000000000000000000000000000000000000000000000080',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  ]
  for (const [index, point] of lowOrder.entries()) {
    broken(`signature with low-order R ${index}`, 'M2P_SIGNATURE', {
      signature: () => concatBytes(hexDecode(point), new Uint8Array(32)),
    })
  }
}

function unsignedManifestEdits(): void {
  for (const at of [0, 4, 8, 12, 16, 20, 24, 28, 32, 64, 140, 300]) {
    broken(`manifest byte ${at} changed after signing`, 'M2P_MANIFEST_HASH', { archive: flip(manifestAt + at) })
  }
}

function preambles(): void {
  broken('manifest tag', 'M2P_HEADER', { manifest: flip(0) })
  for (const version of [0, 2]) broken(`manifest version ${version}`, 'M2P_HEADER', { manifest: u32(4, version) })
  broken('manifest key_id', 'M2P_HEADER', { manifest: u32(8, 8) })
  for (const count of [0, 2, 4, 1_000_000]) broken(`entry count ${count}`, 'M2P_TOC', { manifest: u32(12, count) })
  for (const count of [1_000_001, 0xffff_ffff])
    broken(`entry count ${count}`, 'M2P_LIMIT', { manifest: u32(12, count) })
  for (const size of [0, 1, 32_768, 65_535, 65_537, 98_304, 33_554_432, 0x8000_0000])
    broken(`segment size ${size}`, 'M2P_HEADER', { manifest: u32(16, size) })
  for (const flags of [1, 0x8000_0000]) broken(`flags ${flags}`, 'M2P_HEADER', { manifest: u32(20, flags) })
  broken('slot count one too high', 'M2P_TOC', { manifest: u32(24, 3) })
  broken('slot count 1024', 'M2P_TOC', { manifest: u32(24, 1024) })
  for (const count of [1025, 0xffff_ffff]) broken(`slot count ${count}`, 'M2P_LIMIT', { manifest: u32(24, count) })
  broken('reserved', 'M2P_HEADER', { manifest: u32(28, 1) })
  broken('commitment bit', 'M2P_KEY_COMMITMENT', { manifest: flip(32) })
  broken('commitment zero', 'M2P_KEY_COMMITMENT', { manifest: edit((bytes) => void bytes.fill(0, 32, 64)) })
  broken('manifest cut after the preamble', 'M2P_TOC', { manifest: (manifest) => manifest.slice(0, 64) })
  broken('manifest cut in the last entry', 'M2P_TOC', { manifest: (manifest) => manifest.slice(0, -1) })
  broken('byte behind the last entry', 'M2P_TOC', { manifest: (manifest) => concatBytes(manifest, new Uint8Array(1)) })
}

function slotFaults(): void {
  broken('slot number 0', 'M2P_TOC', { manifest: u32(64, 0) })
  broken('slot number twice', 'M2P_TOC', { manifest: u32(140, 1) })
  broken('slots descending', 'M2P_TOC', { manifest: u32(64, 3) })
  broken('slot number moved', 'M2P_DECRYPT', {
    manifest: u32(140, 3),
    records: (records) => records.map((record) => ({ ...record, slot: record.slot === 2 ? 3 : 1 })),
  })
  broken('slot nonce', 'M2P_DECRYPT', { manifest: flip(68) })
  broken('slot ciphertext', 'M2P_DECRYPT', { manifest: flip(92) })
  broken('slot tag', 'M2P_DECRYPT', { manifest: flip(139) })
  broken('slots wrapped by another key', 'M2P_DECRYPT', { wrapKey: { keyId: 7, key: new Uint8Array(32).fill(3) } })
  broken('slots wrapped for another key_id', 'M2P_DECRYPT', { wrapKey: { keyId: 8, key: contentKey.key } })
}

function paths(): void {
  const refused = [
    '../x',
    'a/../../x',
    '..',
    '.',
    'a/./b',
    '/etc/x',
    'a//b',
    'a/',
    'a\\b',
    'C:\\x',
    'C:x',
    'C:/x',
    '\\\\host\\s',
    '//host/s',
    'a:b',
    'a*',
    'a?',
    'a"b',
    'a<b',
    'a>b',
    'a|b',
    'a\0b',
    'a\x01',
    'a\x1f',
    'a\x7f',
    'a\u0085',
    'a\nb',
    'CON',
    'con.txt',
    'nul',
    'NUL.',
    'COM1',
    'COM\u00b9',
    'LPT0',
    'CONIN$',
    'conout$.x',
    'aux .m2p',
    'prn  .a.b',
    'x/com9.y/z',
    'dot.',
    'space ',
    'a. /b',
    'folder./b',
    'folder /b',
    'e\u0301.txt',
    '\u212b',
    'a\ufeff',
    '\u061c',
    'a\u200b',
    'a\u200d',
    'a\u2028',
    'a\u202e',
    'a\u2060',
    'a\u2066',
    'a\u180eb',
    'a\u0378',
    'a\ufffe',
    'a\u{10ffff}',
    'd:/ymir work/../x',
    'd:/ymir work/',
    'D:/ymir work/x',
    'd:/x',
  ]
  const show = (path: string): string =>
    JSON.stringify(path).replace(/[^\x20-\x7e]/g, (character) => `u${character.charCodeAt(0).toString(16)}`)
  for (const path of refused) broken(`path ${show(path)}`, 'M2P_PATH', { files: [{ path, parts: [text('x')] }] })
  const bytes: [string, string][] = [
    ['overlong slash', '61c0af62'],
    ['overlong NUL', '61c080'],
    ['lone surrogate', '61eda080'],
    ['lone continuation', '6180'],
    ['cut sequence', '61e282'],
    ['beyond 10FFFF', 'f4908080'],
  ]
  for (const [name, hex] of bytes)
    broken(`path with ${name}`, 'M2P_PATH', { files: [{ path: hexDecode(hex), parts: [text('x')] }] })
  broken('path of no bytes', 'M2P_PATH', { files: [{ path: '', parts: [text('x')] }] })
  broken('path of 1025 bytes', 'M2P_LIMIT', { files: [{ path: 'x'.repeat(1025), parts: [text('x')] }] })
  broken('path of 33 parts', 'M2P_LIMIT', { files: [{ path: Array(33).fill('x').join('/'), parts: [text('x')] }] })
  const collisions: [string, string][] = [
    ['A.txt', 'a.txt'],
    ['strasse', 'stra\u00dfe'],
    ['K', 'k'],
    ['i\u0307x', '\u0130x'],
    ['a', 'a/b'],
    ['A', 'a/b'],
    ['A/x', 'a'],
    ['\u03c3', '\u03c2'],
    ['\ufb01', 'fi'],
    ['\u1e9e', 'ss'],
    ['\u13a0', '\uab70'],
    ['d:/ymir work/x', 'ymir work/x'],
    ['d:/ymir work/X', 'ymir work/x'],
    ['\u0390', '\u03b9\u0308\u0301'.toUpperCase().normalize('NFC')],
  ]
  for (const [index, [left, right]] of collisions.entries()) {
    const files = [left, right].map((path): CraftFile => ({ path, parts: [text('x')] }))
    files.sort((one, other) => Buffer.compare(Buffer.from(one.path as string), Buffer.from(other.path as string)))
    broken(`collision ${index}`, 'M2P_PATH_COLLISION', { files })
  }
  broken('path twice', 'M2P_PATH_COLLISION', {
    files: [
      { path: 'x', parts: [text('1')] },
      { path: 'x', parts: [text('2')] },
    ],
  })
  broken('paths not in order', 'M2P_TOC', {
    files: [
      { path: 'b', parts: [text('1')] },
      { path: 'a', parts: [text('2')] },
    ],
  })
  broken('longer path before its prefix', 'M2P_TOC', {
    files: [
      { path: 'ab', parts: [text('1')] },
      { path: 'a', parts: [text('2')] },
    ],
  })
}

const onRecord = (
  index: number,
  change: (record: EntryRecord) => Partial<EntryRecord>,
): Pick<CraftOptions, 'records'> => ({
  records: (records) => records.map((record, at) => (at === index ? { ...record, ...change(record) } : record)),
})

function ranges(): void {
  const at: [string, (record: EntryRecord) => number][] = [
    ['in the header', () => 127],
    ['zero', () => 0],
    ['one too low', ({ offset }) => offset - 1],
    ['one too high', ({ offset }) => offset + 1],
    ['in the manifest', () => manifestAt + 8],
    ['of another file', () => 128],
  ]
  for (const [name, offset] of at)
    broken(
      `offset ${name}`,
      'M2P_TOC',
      onRecord(1, (record) => ({ offset: offset(record) })),
    )
  broken(
    'offset beyond the end',
    'M2P_TOC',
    onRecord(2, () => ({ offset: 2 ** 40 })),
  )
  const entryAt = 64 + 152
  for (const offset of [2n ** 53n, 2n ** 64n - 1n, 2n ** 64n - 40n])
    broken(`offset ${offset}`, 'M2P_TOC', { manifest: u64(entryAt + 2 + 9, offset) })
  for (const size of [64n * 2n ** 30n + 1n, 2n ** 53n, 2n ** 64n - 1n])
    broken(`size ${size}`, 'M2P_LIMIT', { manifest: u64(entryAt + 2 + 9 + 8, size) })
  broken(
    'size beyond the manifest',
    'M2P_TOC',
    onRecord(2, () => ({ size: 2 ** 30 })),
  )
  for (const delta of [-1, 1])
    broken(
      `size off by ${delta}`,
      'M2P_SIZE',
      onRecord(0, ({ size }) => ({ size: size + delta })),
    )
  broken(
    'stored size off by one',
    'M2P_SIZE',
    onRecord(0, ({ segments }) => ({ segments: segmentRecord(41, segments.slice(4)) })),
  )
  broken(
    'slot that is not carried',
    'M2P_TOC',
    onRecord(0, () => ({ slot: 3 })),
  )
  broken(
    'slot 0',
    'M2P_TOC',
    onRecord(0, () => ({ slot: 0 })),
  )
  broken(
    'slot of another file',
    'M2P_DECRYPT',
    onRecord(0, () => ({ slot: 2 })),
  )
  broken('compression 2', 'M2P_HEADER', { manifest: edit((bytes) => void (bytes[entryAt + 2 + 9 + 20] = 2)) })
  for (const byte of [1, 2, 3])
    broken(`reserved byte ${byte} of an entry`, 'M2P_HEADER', {
      manifest: edit((bytes) => void (bytes[entryAt + 2 + 9 + 20 + byte] = 1)),
    })
  broken(
    'digest bit',
    'M2P_DECRYPT',
    onRecord(0, (record) => ({ sha256: flip(0)(record.sha256.slice() as Uint8Array<ArrayBuffer>) })),
  )
  broken(
    'nonce bit',
    'M2P_DECRYPT',
    onRecord(0, ({ segments }) => ({ segments: flip(4)(segments.slice() as Uint8Array<ArrayBuffer>) })),
  )
  broken(
    'stored said to be compressed',
    'M2P_ZSTD',
    onRecord(0, () => ({ compression: 'zstd' })),
  )
  broken('gap of one byte', 'M2P_TOC', {
    records: (records) =>
      records.map((record, index) => (index > 0 ? { ...record, offset: record.offset + 1 } : record)),
    payload: (payload) => concatBytes(payload.subarray(0, 40), new Uint8Array(1), payload.subarray(40)),
  })
  broken('gap before the manifest', 'M2P_TOC', { gapBeforeManifest: 8 })
  broken('one byte appended', 'M2P_TRAILING', { archive: (archive) => concatBytes(archive, new Uint8Array(1)) })
  broken('second archive appended', 'M2P_TRAILING', { archive: (archive) => concatBytes(archive, archive) })
}

function payloads(): void {
  for (const at of [0, 10, 23, 24, 39]) broken(`payload byte ${at}`, 'M2P_DECRYPT', { payload: flip(at) })
  broken('payloads swapped', 'M2P_DECRYPT', {
    payload: (payload) => concatBytes(payload.subarray(40, 80), payload.subarray(0, 40), payload.subarray(80)),
  })
  broken('payload zero', 'M2P_DECRYPT', { payload: (payload) => payload.fill(0) })
  broken('last tag', 'M2P_DECRYPT', { payload: flip(-1) })
  // Forged by someone who holds the content key: tags are right, the publisher's nonce and hash are not.
  const forged = (record: EntryRecord, secret: Uint8Array, plain: Uint8Array): Uint8Array =>
    sealWithNonce(record, secret, plain)
  broken('forged by a holder of the content key', 'M2P_HASH', forge(forged))
}

/** Seals other content of equal length under the nonce and file key that the signed manifest names. */
function sealWithNonce(record: EntryRecord, secret: Uint8Array, plain: Uint8Array): Uint8Array {
  const cipher = new FileCipher(new SlotKey(secret), record.pathBytes, { sha256: record.sha256, segmentCount: 1 })
  return cipher.sealUnder(0, plain, record.segments.subarray(4, 28))
}

function forge(seal: (record: EntryRecord, secret: Uint8Array, plain: Uint8Array) => Uint8Array): CraftOptions {
  let stored: Uint8Array = new Uint8Array(0)
  return {
    records: (records) => {
      stored = seal(records[0] as EntryRecord, slots.get(1) as Uint8Array, text('evil! file, first folder'))
      return records
    },
    payload: (payload) => concatBytes(stored, payload.subarray(stored.length)),
  }
}

function segments(): void {
  const parts = [new Uint8Array(65_536).fill(1), new Uint8Array(65_536).fill(2), new Uint8Array(10).fill(3)]
  const compressed = parts.map((part) => new Uint8Array(zstdCompressSync(part)))
  const file = (): CraftFile => ({
    path: 'large',
    parts: compressed,
    size: 131_082,
    compression: 'zstd',
    digest: sha256(concatBytes(...parts)),
  })
  const lengths = compressed.map((part) => part.length + 16)
  const [first = 0, second = 0, third = 0] = lengths
  const cut = (payload: Uint8Array): Uint8Array[] => [
    payload.subarray(0, first),
    payload.subarray(first, first + second),
    payload.subarray(first + second),
  ]
  const reorder = (order: number[]) => (payload: Uint8Array) =>
    concatBytes(...order.map((index) => cut(payload)[index] as Uint8Array))
  broken('segments swapped', 'M2P_DECRYPT', {
    files: [file()],
    payload: first === second ? reorder([1, 0, 2]) : flip(0),
  })
  broken('segment repeated', 'M2P_DECRYPT', {
    files: [file()],
    payload: first === second ? reorder([0, 0, 2]) : flip(1),
  })
  broken('last segment damaged', 'M2P_DECRYPT', { files: [file()], payload: flip(-1) })
  const swapRecords = ({ segments: records }: EntryRecord): Partial<EntryRecord> => ({
    segments: concatBytes(records.slice(28, 56), records.slice(0, 28), records.slice(56)),
  })
  broken('segments and their records swapped', 'M2P_DECRYPT', {
    files: [file()],
    payload: reorder([1, 0, 2]),
    ...onRecord(0, swapRecords),
  })
  broken('last segment dropped', 'M2P_TOC', {
    files: [file()],
    payload: (payload) => payload.slice(0, first + second),
    ...onRecord(0, ({ segments: records }) => ({ segments: records.slice(0, 56) })),
  })
  broken('two last segments', 'M2P_TOC', {
    files: [file()],
    payload: (payload) => concatBytes(payload, payload.subarray(payload.length - third)),
    ...onRecord(0, ({ segments: records }) => ({ segments: concatBytes(records, records.subarray(56)) })),
  })
  broken('first segment longer than a segment', 'M2P_DECRYPT', {
    files: [{ ...file(), parts: compressed.slice(0, 2), size: 65_537 }],
    payload: flip(2),
  })
}

/** A frame by hand: descriptor, what follows it, blocks. */
function frame(descriptor: number, fields: number[], ...blocks: Uint8Array[]): Uint8Array {
  return concatBytes(new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, descriptor, ...fields]), ...blocks)
}

function block(type: number, size: number, last: boolean, content: number[]): Uint8Array {
  const header = (last ? 1 : 0) | (type << 1) | (size << 3)
  return new Uint8Array([header & 255, (header >> 8) & 255, header >> 16, ...content])
}

function zstdFaults(): void {
  const plain = new Uint8Array(200).fill(0x61)
  const good = new Uint8Array(zstdCompressSync(plain))
  const rle = block(1, 200, true, [0x61])
  const file = (stored: Uint8Array, size = 200): CraftFile => ({
    path: 'x',
    parts: [stored],
    size,
    compression: 'zstd',
    digest: sha256(plain),
  })
  const wrong = (name: string, code: M2pErrorCode, stored: Uint8Array, size?: number): void =>
    broken(`zstd ${name}`, code, { files: [file(stored, size)] })
  wrong('garbage', 'M2P_ZSTD', text('this is no frame at all')) // words: allow, the bytes of a fixture
  wrong('nothing but a magic', 'M2P_ZSTD', frame(0x20, []).slice(0, 4))
  wrong('checksum flag', 'M2P_ZSTD', frame(0x24, [200], rle, new Uint8Array(4)))
  wrong('right checksum', 'M2P_ZSTD', new Uint8Array(zstdCompressSync(plain, { params: { 201: 1 } })))
  wrong('dictionary id', 'M2P_ZSTD', frame(0x21, [5, 200], rle))
  wrong('reserved bit', 'M2P_ZSTD', frame(0x28, [200], rle))
  wrong('no content size', 'M2P_ZSTD', frame(0x00, [0x00], rle))
  wrong('content size one too high', 'M2P_SIZE', frame(0x20, [201], block(1, 201, true, [0x61])))
  wrong('content size one too low', 'M2P_SIZE', frame(0x20, [199], block(1, 199, true, [0x61])))
  wrong('more content than said', 'M2P_ZSTD', frame(0x20, [200], block(1, 255, true, [0x61])))
  wrong('less content than said', 'M2P_ZSTD', frame(0x20, [200], block(1, 100, true, [0x61])))
  wrong(
    'bomb',
    'M2P_ZSTD',
    frame(0x20, [200], ...Array.from({ length: 20 }, (_, index) => block(1, 131_072, index === 19, [0x61]))),
  )
  wrong('reserved block', 'M2P_ZSTD', frame(0x20, [200], block(3, 10, true, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])))
  wrong('no last block', 'M2P_ZSTD', frame(0x20, [200], block(1, 200, false, [0x61])))
  wrong('cut', 'M2P_ZSTD', good.slice(0, -1))
  wrong('byte behind', 'M2P_ZSTD', concatBytes(good, new Uint8Array(1)))
  wrong(
    'two frames',
    'M2P_ZSTD',
    concatBytes(frame(0x20, [100], block(1, 100, true, [0x61])), frame(0x20, [100], block(1, 100, true, [0x61]))),
    100,
  )
  wrong('skippable frame before', 'M2P_ZSTD', concatBytes(hexDecode('502a4d1801000000ff'), good))
  wrong('skippable frame behind', 'M2P_ZSTD', concatBytes(good, hexDecode('502a4d1801000000ff')))
  wrong('window of 2 GiB', 'M2P_LIMIT', frame(0x40, [0xa8, 200 - 256 + 256, 0], rle))
  wrong('window over 8 MiB', 'M2P_LIMIT', frame(0x40, [0x69, 200, 0], rle))
  wrong(
    'corrupt block',
    'M2P_ZSTD',
    frame(0x20, [200], block(2, 10, true, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
  )
  const single = new Uint8Array([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0x90, 0])
  const blocks = Array.from({ length: 72 }, (_, index) => block(1, 131_072, index === 71, [0x61]))
  broken('zstd single segment over 8 MiB', 'M2P_LIMIT', {
    segmentSize: 16_777_216,
    files: [file(concatBytes(single, ...blocks), 9_437_184)],
  })
  const honest = concatBytes(hexDecode('28b52ffd2001'), block(0, 1, true, [0x61]))
  broken('zstd right frame of other content', 'M2P_HASH', {
    files: [{ ...file(honest, 1), digest: sha256(text('b')) }],
  })
  broken('zstd of an empty file', 'M2P_SIZE', { files: [file(hexDecode('28b52ffd2000010000'), 0)] })
}

function padding(): void {
  const files = plainFiles()
  const aligned = (zero: number): CraftOptions => ({
    files,
    records: (records) => records.map((record, index) => ({ ...record, offset: 128 + index * 64 })),
    payload: (payload) => {
      const padded = new Uint8Array(128 + payload.length - 80)
      padded.fill(zero, 40, 64)
      padded.set(payload.subarray(0, 40), 0)
      padded.set(payload.subarray(40, 80), 64)
      padded.fill(0, 104, 128)
      padded.set(payload.subarray(80), 128)
      return padded
    },
  })
  broken('padding that is not zero', 'M2P_PADDING', aligned(1))
  broken('padding as long as its alignment', 'M2P_TOC', {
    records: (records) =>
      records.map((record, index) => (index === 0 ? record : { ...record, offset: record.offset + 16 })),
    payload: (payload) => concatBytes(payload.subarray(0, 40), new Uint8Array(16), payload.subarray(40)),
  })
}

/** Every broken archive. */
export function brokenCases(): readonly BrokenCase[] {
  if (cases.length > 0) return cases
  for (const family of [
    truncations,
    headers,
    signatures,
    unsignedManifestEdits,
    preambles,
    slotFaults,
    paths,
    ranges,
    payloads,
    segments,
    zstdFaults,
    padding,
  ])
    family()
  return cases
}
