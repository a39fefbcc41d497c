import { checkpointHolds } from './checkpoint.ts'
import type { Checkpoint } from './checkpoint.ts'
import { genesisHash, hashRecord, macHolds } from './record.ts'
import type { AuditRecord } from './record.ts'

/** Why a chain does not verify. */
export type AuditFlaw =
  | 'sequence'
  | 'hash'
  | 'mac'
  | 'checkpoint_signature'
  | 'checkpoint_mismatch'
  | 'tail_lost'
  | 'unreadable'

/** What became of a check of the chain. */
export type AuditVerdict =
  | { readonly ok: true; readonly count: number; readonly head: string; readonly checkpoints: number }
  | { readonly ok: false; readonly flaw: AuditFlaw; readonly seq: number; readonly reason: string }

/** Options of {@link verifyAuditChain}. */
export interface VerifyAuditOptions {
  /** The key of the MACs; without it hashes alone are checked, which anybody can write. */
  readonly auditKey?: Uint8Array | undefined
  /** Checkpoints kept elsewhere: each must be on the chain, so a lost tail shows. */
  readonly anchors?: readonly Checkpoint[] | undefined
  /** Who must have signed the anchors. */
  readonly checkpointKey?: Uint8Array | undefined
}

/**
 * Checks a chain from its first record to its last and names the first bad one.
 *
 * @param records - All of them, in order.
 */
export async function verifyAuditChain(
  records: AsyncIterable<AuditRecord> | Iterable<AuditRecord>,
  options: VerifyAuditOptions = {},
): Promise<AuditVerdict> {
  const { auditKey, anchors = [], checkpointKey } = options
  const forged =
    checkpointKey === undefined ? undefined : anchors.find((anchor) => !checkpointHolds(anchor, checkpointKey))
  if (forged !== undefined)
    return bad('checkpoint_signature', forged.seq, 'the signature of a checkpoint is not that of the vault')
  const bySeq = Map.groupBy(anchors, (anchor) => anchor.seq)
  let head = genesisHash
  let count = 0
  for await (const record of records) {
    const { hash: _hash, mac: _mac, ...fields } = record
    if (record.seq !== count + 1) return bad('sequence', count + 1, `record ${record.seq}, expected ${count + 1}`)
    if (hashRecord(head, fields) !== record.hash)
      return bad('hash', record.seq, 'its hash does not follow from its fields and the record before')
    if (auditKey !== undefined && !macHolds(record, auditKey))
      return bad('mac', record.seq, 'its MAC is not that of the vault')
    if (bySeq.get(record.seq)?.some((anchor) => anchor.head !== record.hash) === true) {
      return bad('checkpoint_mismatch', record.seq, 'a checkpoint names another hash for it')
    }
    head = record.hash
    count = record.seq
  }
  const beyond = anchors.filter((anchor) => anchor.seq > count).toSorted((a, b) => b.seq - a.seq)[0]
  if (beyond !== undefined)
    return bad('tail_lost', count + 1, `a checkpoint knows ${beyond.seq} records, the chain has ${count}`)
  return { ok: true, count, head, checkpoints: anchors.length }
}

function bad(flaw: AuditFlaw, seq: number, reason: string): AuditVerdict {
  return { ok: false, flaw, seq, reason }
}
