import { hexEncode, sha256, utf8Encode, concatBytes } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { genesisHash } from './record.ts'

/** One record of a HexVault 1.1.x audit log, as its JSON has it. */
export interface HexvaultAuditRecord {
  readonly source_cell_id: string
  readonly dest_cell_id: string
  readonly layer: 'AtRest' | 'AccessGated' | 'SessionBound'
  /** RFC 3339 with `Z`. */
  readonly timestamp: string
  readonly entry_hash: string
}

const layerBytes = { AtRest: 0, AccessGated: 1, SessionBound: 2 } as const

/** The old hash: previous as 64 hex characters, both ids, one layer byte, decimal milliseconds; no separators. */
export function hashHexvaultRecord(previousHash: string, record: HexvaultAuditRecord): string {
  const ids = utf8Encode(`${previousHash}${record.source_cell_id}${record.dest_cell_id}`)
  const time = utf8Encode(String(Date.parse(record.timestamp)))
  return hexEncode(sha256(concatBytes(ids, new Uint8Array([layerBytes[record.layer]]), time)))
}

/**
 * Checks a HexVault chain by HexVault's own rule, weak as it is (docs/spec/vault-kdf.md §9.4).
 *
 * @returns The head to link from, or the index of the first bad record.
 */
export function verifyHexvaultChain(
  records: readonly HexvaultAuditRecord[],
): { readonly head: string } | { readonly badIndex: number } {
  let head = genesisHash
  for (const [badIndex, record] of records.entries()) {
    if (hashHexvaultRecord(head, record) !== record.entry_hash) return { badIndex }
    head = record.entry_hash
  }
  return { head }
}

/** Details of the `chain_linked` record that continues an old chain in ours. */
export function hexvaultLink(records: readonly HexvaultAuditRecord[], head: string): JsonObject {
  return { from: 'hexvault-1.1', count: records.length, head }
}
