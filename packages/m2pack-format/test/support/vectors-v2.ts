import { readFileSync } from 'node:fs'

/** A file as test/vectors/m2p-v2.json describes it. */
export interface VectorFile {
  readonly path: string
  readonly size: number
  readonly sha256: string
  readonly slot: number
  readonly executable: boolean
  readonly mtime_ms?: number
  readonly offset: number
  readonly file_key: string
  readonly segments: readonly {
    readonly original_size: number
    readonly stored_size: number
    readonly nonce: string
    readonly stored: string
  }[]
}

/** An archive with the values on the way to it; bytes are hex. */
export interface VectorArchive {
  readonly key_id: number
  readonly content_key: string
  readonly signing_seed: string
  readonly public_key: string
  readonly segment_size: number
  readonly align: number
  readonly flags: number
  readonly slots: readonly { readonly number: number; readonly secret: string }[]
  readonly files: readonly VectorFile[]
  readonly archive: string
}

/** Everything in test/vectors/m2p-v2.json. */
export interface VectorsV2 {
  readonly plain: VectorArchive
  readonly sealed: VectorArchive
  readonly segments: VectorArchive
  readonly cuts: readonly { readonly stream_bytes: number; readonly segment_size: number; readonly lengths: number[] }[]
}

export function loadVectorsV2(): VectorsV2 {
  return JSON.parse(readFileSync(new URL('../vectors/m2p-v2.json', import.meta.url), 'utf8')) as VectorsV2
}
