import { readFileSync } from 'node:fs'
import { hexDecode } from '@keyturn/primitives'
import type { LayerContext, LegacyProfile, Layer } from '../src/index.ts'

export interface Blob {
  id: string
  partition: string
  cell: string
  layer: Layer
  access: string | null
  session: string | null
  master: string
  ciphertext: string
  plaintext: Content
  why: string
  madeBy: string
}
export type Content = { hex: string } | { counter: number }
export interface DerivedKey {
  master: string
  partition: string
  cell: string
  tag: string
  ctx: string
  key: string
}
export interface Envelope extends Blob {
  key_version: number
  payload: string
  salt: string
  partitionKey: string
  header: string
  commit: string
  layerKeyAndNonce: string[]
  envelope: string
}
interface Generation {
  partitionKeys: { master: string; partition: string; key: string }[]
  derivedKeys: DerivedKey[]
  encodings: {
    partitionInfoHex?: Record<string, string>
    cellInfoHex: { cell: string; tag: string; ctx: string; info: string; aad: string }[]
  }
  ciphertexts: Blob[]
  negative: Blob[]
}
export interface HexvaultVectors {
  masters: Record<string, string>
  generations: Record<'g1' | 'g2' | 'g3', Generation>
  collisions: { pair: { cell: string; tag: string; ctx: string }[]; key: Record<string, string> }
  auditChain: {
    records: {
      source_cell_id: string
      dest_cell_id: string
      layer: string
      timestamp: string
      unixMillis: number
      entry_hash: string
    }[]
  }
  proposed: { envelopes: Envelope[] }
}

/** Made for this project with the real crate; see test/vectors/README.md. */
export const vectors = JSON.parse(
  readFileSync(new URL('vectors/hexvault.json', import.meta.url), 'utf8'),
) as HexvaultVectors

export const generations = [
  ['g1', 'hv-1.0'],
  ['g2', 'hv-1.1.0'],
  ['g3', 'hv-1.1.2'],
] as const satisfies readonly (readonly [string, LegacyProfile])[]

export function master(name: string): Uint8Array {
  return hexDecode(vectors.masters[name] ?? '')
}

export function contextOf(blob: Blob): LayerContext {
  return { policy: blob.access ?? undefined, session: blob.session ?? undefined }
}

export function contentOf(content: Content): Uint8Array {
  return 'hex' in content
    ? hexDecode(content.hex)
    : Uint8Array.from({ length: content.counter }, (_, index) => index & 0xff)
}
