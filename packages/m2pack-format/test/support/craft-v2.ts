import { blake2b256, concatBytes, ed25519Sign, sha256 } from '@keyturn/primitives'
import type { EntryRecord } from '../../src/entries.ts'
import { writeHeader } from '../../src/header.ts'
import { keyCommitment, SlotKey, wrapSlot } from '../../src/keys.ts'
import { writeManifest } from '../../src/manifest.ts'
import type { ManifestHead } from '../../src/manifest.ts'
import { segmentRecord2 } from '../../src/segment-record.ts'
import { FileCipher } from '../../src/segment.ts'
import { contentKey, seed, slots, text } from './craft.ts'

/** What is sealed, and the bytes of plaintext it is said to hold. */
export interface CraftPart {
  bytes: Uint8Array
  size?: number
}

export interface CraftFile2 {
  path: string
  parts: CraftPart[]
  size?: number
  digest?: Uint8Array
  slot?: number
  executable?: boolean
  mtimeMs?: number
}

export interface CraftOptions2 {
  files?: CraftFile2[]
  head?: Partial<ManifestHead>
  /** Changes records after sealing. */
  records?: (records: EntryRecord[]) => EntryRecord[]
  /** Changes the manifest before it is signed. */
  manifest?: (manifest: Uint8Array<ArrayBuffer>) => Uint8Array
  /** Changes the payload region. */
  payload?: (payload: Uint8Array<ArrayBuffer>) => Uint8Array
  /** Changes the whole archive at the end; nothing is signed again. */
  archive?: (archive: Uint8Array<ArrayBuffer>) => Uint8Array
  /** Version in the header; the manifest says 2. */
  version?: 1 | 2
}

/** `count` times `byte` as one zstd frame, written by hand. */
export function runFrame(byte: number, count: number): Uint8Array {
  const block = (count << 3) | (1 << 1) | 1
  const size = count - 256
  return Uint8Array.of(
    0x28,
    0xb5,
    0x2f,
    0xfd,
    0x60,
    size & 255,
    size >> 8,
    block & 255,
    (block >> 8) & 255,
    block >> 16,
    byte,
  )
}

/** Two small files, and one of three segments of which two are frames. */
export const plainFiles2 = (): CraftFile2[] => [
  { path: 'a/one.txt', parts: [{ bytes: text('first file, first folder') }] },
  { path: 'a/run', parts: [{ bytes: text('#!/bin/sh\n') }], slot: 2, executable: true },
  {
    path: 'big',
    parts: [
      { bytes: runFrame(97, 16_384), size: 16_384 },
      { bytes: runFrame(98, 20_000), size: 20_000 },
      { bytes: text('the tail') },
    ],
    digest: sha256(concatBytes(new Uint8Array(16_384).fill(97), new Uint8Array(20_000).fill(98), text('the tail'))),
  },
]

function seal(file: CraftFile2): { record: EntryRecord; stored: Uint8Array } {
  const pathBytes = new TextEncoder().encode(file.path)
  const { slot = 1, executable = false, mtimeMs } = file
  const cipher = new FileCipher(new SlotKey(slots.get(slot) as Uint8Array), pathBytes)
  const sealed = file.parts.map(({ bytes, size = bytes.length }, index) => ({ size, ...cipher.seal(index, bytes) }))
  const segments = concatBytes(...sealed.map(({ size, stored, nonce }) => segmentRecord2(size, stored.length, nonce)))
  const size = file.size ?? sealed.reduce((sum, part) => sum + part.size, 0)
  const digest = file.digest ?? sha256(concatBytes(...file.parts.map(({ bytes }) => bytes)))
  const compression = sealed.some((part) => part.stored.length < part.size + 16) ? 'zstd' : 'none'
  const attributes = { executable, mtimeMs }
  return {
    record: { version: 2, pathBytes, offset: 0, size, slot, compression, sha256: digest, segments, ...attributes },
    stored: concatBytes(...sealed.map(({ stored }) => stored)),
  }
}

/** Builds an archive of version 2 whose every part can be wrong, rightly signed unless told otherwise. */
export function craft2(options: CraftOptions2 = {}): Uint8Array {
  const unchanged = <Value>(value: Value): Value => value
  const sealed = (options.files ?? plainFiles2()).map(seal)
  const records = (options.records ?? unchanged)(sealed.map(({ record }) => record))
  const head: ManifestHead = {
    version: 2,
    keyId: 7,
    segmentSize: 65_536,
    commitment: keyCommitment(contentKey),
    slots: [...slots].map(([number, secret]) => wrapSlot(contentKey, number, secret)),
    ...options.head,
  }
  const manifest = (options.manifest ?? unchanged)(writeManifest(head, records, contentKey)) as Uint8Array
  const payload = (options.payload ?? unchanged)(concatBytes(...sealed.map(({ stored }) => stored))) as Uint8Array
  const header = writeHeader({
    version: options.version ?? 2,
    keyId: 7,
    manifestOffset: 128 + payload.length,
    manifestSize: manifest.length,
    manifestHash: blake2b256(manifest),
    signature: ed25519Sign(seed, manifest),
  })
  return (options.archive ?? unchanged)(concatBytes(header, payload, manifest))
}
