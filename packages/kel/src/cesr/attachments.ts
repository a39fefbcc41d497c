import { refusal } from '../rule.ts'
import { digestCodes } from './codes.ts'
import { encodeCounter, readCounter } from './counter.ts'
import { encodeCurrentOnlySignature, encodeIndexedSignature, readIndexedSignature } from './indexed-signature.ts'
import type { IndexedSignature } from './indexed-signature.ts'
import { decodeSequence, encodeMatter, encodeSequence, readMatter } from './matter.ts'
import type { Matter } from './matter.ts'

/** A receipt by a key that is its own identity: prefix and plain signature. */
export interface ReceiptCouple {
  readonly prefix: string
  readonly code: string
  readonly signature: Uint8Array
}

/** A place in a log: sequence number and SAID. */
export interface SealSource {
  readonly sn: number
  readonly said: string
}

/** A receipt by an identity with a log: the place of its keys and their signatures. */
export interface TransferableReceipt extends SealSource {
  readonly prefix: string
  readonly signatures: readonly IndexedSignature[]
}

/** Everything that is attached to an event, by group. */
export interface Attachments {
  readonly signatures: readonly IndexedSignature[]
  readonly witnessSignatures: readonly IndexedSignature[]
  readonly couples: readonly ReceiptCouple[]
  readonly transferable: readonly TransferableReceipt[]
  readonly sealSources: readonly SealSource[]
}

interface Groups {
  signatures: IndexedSignature[]
  witnessSignatures: IndexedSignature[]
  couples: ReceiptCouple[]
  transferable: TransferableReceipt[]
  sealSources: SealSource[]
}

const MAX_GROUP_COUNT = 1024

class Cursor {
  readonly text: string
  offset: number

  constructor(text: string, offset: number) {
    this.text = text
    this.offset = offset
  }

  matter(): { matter: Matter; text: string } {
    const start = this.offset
    const { matter, end } = readMatter(this.text, start)
    this.offset = end
    return { matter, text: this.text.slice(start, end) }
  }

  indexed(): IndexedSignature {
    const { signature, end } = readIndexedSignature(this.text, this.offset)
    this.offset = end
    return signature
  }

  sequence(): number {
    return decodeSequence(this.matter().matter)
  }

  said(): string {
    const { matter, text } = this.matter()
    if (!digestCodes.has(matter.code)) throw refusal('KEL_CESR', `Code ${matter.code} where a digest is expected`)
    return text
  }
}

function readCouple(cursor: Cursor): ReceiptCouple {
  const key = cursor.matter()
  const { matter } = cursor.matter()
  if (matter.code !== '0B' && matter.code !== '0C' && matter.code !== '0I') {
    throw refusal('KEL_CESR', `Code ${matter.code} where a signature is expected`)
  }
  return { prefix: key.text, code: matter.code, signature: matter.raw }
}

/** A `-A` group that belongs to the group before it. */
function readSignatureGroup(cursor: Cursor): IndexedSignature[] {
  const { kind, count, end } = readCounter(cursor.text, cursor.offset)
  if (kind !== 'controller-signatures') throw refusal('KEL_CESR', 'Signature group expected inside an attachment group')
  cursor.offset = end
  return Array.from({ length: count }, () => cursor.indexed())
}

const readers: Record<string, (cursor: Cursor, groups: Groups) => void> = {
  'controller-signatures': (cursor, groups) => void groups.signatures.push(cursor.indexed()),
  'witness-signatures': (cursor, groups) => void groups.witnessSignatures.push(cursor.indexed()),
  'receipt-couples': (cursor, groups) => void groups.couples.push(readCouple(cursor)),
  'receipt-quadruples': (cursor, groups) => {
    const prefix = cursor.matter().text
    groups.transferable.push({ prefix, sn: cursor.sequence(), said: cursor.said(), signatures: [cursor.indexed()] })
  },
  'first-seen': (cursor) => {
    cursor.sequence()
    cursor.matter()
  },
  'transferable-groups': (cursor, groups) => {
    const prefix = cursor.matter().text
    groups.transferable.push({
      prefix,
      sn: cursor.sequence(),
      said: cursor.said(),
      signatures: readSignatureGroup(cursor),
    })
  },
  'seal-couples': (cursor, groups) => void groups.sealSources.push({ sn: cursor.sequence(), said: cursor.said() }),
  'last-establishment-groups': (cursor) => {
    cursor.matter()
    readSignatureGroup(cursor)
  },
  'seal-triples': (cursor, groups) => {
    cursor.matter()
    groups.sealSources.push({ sn: cursor.sequence(), said: cursor.said() })
  },
}

function readGroups(cursor: Cursor, end: number, groups: Groups, nested: boolean): void {
  while (cursor.offset < end) {
    const { kind, count, end: bodyAt } = readCounter(cursor.text, cursor.offset)
    cursor.offset = bodyAt
    if (kind === 'wrapper') {
      const wrapperEnd = bodyAt + count * 4
      if (nested || wrapperEnd > end) throw refusal('KEL_CESR', 'Attachment wrapper is cut short or nested')
      readGroups(cursor, wrapperEnd, groups, true)
      continue
    }
    if (count > MAX_GROUP_COUNT) throw refusal('KEL_LIMIT', `Attachment group of ${count}, limit ${MAX_GROUP_COUNT}`)
    const read = readers[kind] as (cursor: Cursor, groups: Groups) => void
    for (let i = 0; i < count; i++) read(cursor, groups)
  }
  if (cursor.offset !== end) throw refusal('KEL_CESR', 'Attachment group runs over the end of its wrapper')
}

/**
 * Parses the attachments of a version 1 event.
 *
 * @param text - From the end of the event body to the next body.
 * @throws {@link KelError} `KEL_CESR`, `KEL_LIMIT`.
 */
export function parseAttachments(text: string): Attachments {
  const groups: Groups = { signatures: [], witnessSignatures: [], couples: [], transferable: [], sealSources: [] }
  readGroups(new Cursor(text, 0), text.length, groups, false)
  return groups
}

/** A `-A` group of indexed signatures already written as text. */
export function signatureGroup(signatures: readonly string[]): string {
  return signatures.length === 0 ? '' : encodeCounter('A', signatures.length) + signatures.join('')
}

/** A `-B` group of indexed witness signatures already written as text. */
export function witnessGroup(signatures: readonly string[]): string {
  return signatures.length === 0 ? '' : encodeCounter('B', signatures.length) + signatures.join('')
}

/** A `-C` group of receipts by Ed25519 witnesses. */
export function coupleGroup(couples: readonly { prefix: string; signature: Uint8Array }[]): string {
  if (couples.length === 0) return ''
  return encodeCounter('C', couples.length) + couples.map((c) => c.prefix + encodeMatter('0B', c.signature)).join('')
}

/** A `-G` couple that points to the sealing event in the delegator's log. */
export function sealSourceGroup(source: SealSource): string {
  return encodeCounter('G', 1) + encodeSequence(source.sn) + source.said
}

function indexedText({ index, ondex, signature }: IndexedSignature): string {
  return ondex === undefined
    ? encodeCurrentOnlySignature(signature, index)
    : encodeIndexedSignature(signature, index, ondex)
}

/** Writes the groups that decide about an event: controller signatures, witness signatures, seal sources. */
export function formatAttachments(
  attachments: Pick<Attachments, 'signatures' | 'witnessSignatures' | 'sealSources'>,
): string {
  return (
    signatureGroup(attachments.signatures.map(indexedText)) +
    witnessGroup(attachments.witnessSignatures.map(indexedText)) +
    attachments.sealSources.map(sealSourceGroup).join('')
  )
}
