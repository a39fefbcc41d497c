import { blake2b256, concatBytes, ed25519PublicKey, ed25519Sign, sha256, utf8Encode } from '@keyturn/primitives'
import type { Compression, EntryRecord } from '../../src/entries.ts'
import { segmentRecord } from '../../src/segment-record.ts'
import { writeHeader } from '../../src/header.ts'
import { keyCommitment, SlotKey, wrapSlot } from '../../src/keys.ts'
import type { ContentKey } from '../../src/keys.ts'
import { writeManifest } from '../../src/manifest.ts'
import { FileCipher } from '../../src/segment.ts'

/** Keys that every crafted archive uses. They protect nothing. */
export const seed = new Uint8Array(32).fill(0x51)
export const publicKey = ed25519PublicKey(seed)
export const contentKey: ContentKey = { keyId: 7, key: new Uint8Array(32).fill(0xc7) }
export const slots = new Map([
  [1, new Uint8Array(32).fill(0x11)],
  [2, new Uint8Array(32).fill(0x22)],
])
export const verifiers = new Map([
  [7, publicKey],
  [8, publicKey],
])

export interface CraftFile {
  path: string | Uint8Array
  /** What is sealed, a part for each segment. */
  parts: Uint8Array[]
  /** Said about it; defaults say the truth for uncompressed parts. */
  size?: number
  compression?: Compression
  digest?: Uint8Array
  slot?: number
}

export interface CraftOptions {
  files?: CraftFile[]
  segmentSize?: number
  keyId?: number
  /** Changes records after sealing. */
  records?: (records: EntryRecord[]) => EntryRecord[]
  /** Changes the manifest before it is signed. */
  manifest?: (manifest: Uint8Array<ArrayBuffer>) => Uint8Array
  /** Changes the payload region. */
  payload?: (payload: Uint8Array<ArrayBuffer>) => Uint8Array
  /** Changes the whole archive at the end; nothing is signed again. */
  archive?: (archive: Uint8Array<ArrayBuffer>) => Uint8Array
  /** Zeros between payloads and manifest. */
  gapBeforeManifest?: number
  signature?: (manifest: Uint8Array) => Uint8Array
  wrapKey?: ContentKey
}

export const text = (value: string): Uint8Array<ArrayBuffer> => utf8Encode(value)

export const plainFiles = (): CraftFile[] => [
  { path: 'a/one.txt', parts: [text('first file, first folder')] },
  { path: 'a/two.txt', parts: [text('other file, first folder')] },
  { path: 'b.bin', parts: [new Uint8Array(300).map((_, index) => (index * 73) & 255)], slot: 2 },
]

function seal(file: CraftFile, offset: number): { record: EntryRecord; stored: Uint8Array } {
  const pathBytes = typeof file.path === 'string' ? new TextEncoder().encode(file.path) : file.path
  const plain = concatBytes(...file.parts)
  const digest = file.digest ?? sha256(plain)
  const slot = file.slot ?? 1
  const cipher = new FileCipher(new SlotKey(slots.get(slot) as Uint8Array), pathBytes, {
    sha256: digest,
    segmentCount: file.parts.length,
  })
  const sealed = file.parts.map((part, index) => cipher.seal(index, part))
  const segments = concatBytes(...sealed.map(({ stored, nonce }) => segmentRecord(stored.length, nonce)))
  const size = file.size ?? plain.length
  return {
    record: { pathBytes, offset, size, slot, compression: file.compression ?? 'none', sha256: digest, segments },
    stored: concatBytes(...sealed.map(({ stored }) => stored)),
  }
}

/** Builds an archive whose every part can be wrong, rightly signed unless told otherwise. */
export function craft(options: CraftOptions = {}): Uint8Array {
  const { files = plainFiles(), segmentSize = 65_536, keyId = 7, gapBeforeManifest = 0 } = options
  const unchanged = <Value>(value: Value): Value => value
  let offset = 128
  const sealed = files.map((file) => {
    const one = seal(file, offset)
    offset += one.stored.length
    return one
  })
  const records = (options.records ?? unchanged)(sealed.map(({ record }) => record))
  const wrapKey = options.wrapKey ?? contentKey
  const head = {
    keyId,
    segmentSize,
    commitment: keyCommitment(contentKey),
    slots: [...slots].map(([number, secret]) => wrapSlot(wrapKey, number, secret)),
  }
  const manifest = (options.manifest ?? unchanged)(writeManifest(head, records, contentKey)) as Uint8Array
  const payload = (options.payload ?? unchanged)(concatBytes(...sealed.map(({ stored }) => stored))) as Uint8Array
  const header = writeHeader({
    version: 1,
    keyId,
    manifestOffset: 128 + payload.length + gapBeforeManifest,
    manifestSize: manifest.length,
    manifestHash: blake2b256(manifest),
    signature: (options.signature ?? ((bytes) => ed25519Sign(seed, bytes)))(manifest),
  })
  return (options.archive ?? unchanged)(concatBytes(header, payload, new Uint8Array(gapBeforeManifest), manifest))
}
