/** Sizes of one kind of CESR primitive: characters of the code, bytes of the value, characters of the whole text. */
export interface MatterSize {
  readonly codeLength: number
  readonly rawLength: number
  readonly textLength: number
}

/** Pad bytes go in front of the value and fill it to groups of three; a code of 1 or 2 characters covers them. */
function sizes(codeLength: number, rawLength: number): MatterSize {
  const padded = (codeLength % 4) + rawLength
  return { codeLength, rawLength, textLength: (padded / 3) * 4 + (codeLength === 4 ? 4 : 0) }
}

/** Primitives by code, docs/spec/kel.md §2.1. */
export const matterSizes: ReadonlyMap<string, MatterSize> = new Map([
  ...['A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'Q'].map((code) => [code, sizes(1, 32)] as const),
  ['0A', sizes(2, 16)],
  ...['0B', '0C', '0D', '0E', '0F', '0G', '0I'].map((code) => [code, sizes(2, 64)] as const),
  ...['1AAA', '1AAB', '1AAI', '1AAJ'].map((code) => [code, sizes(4, 33)] as const),
  ['1AAG', sizes(4, 24)],
])

/** How the code of an indexed signature spells its two places. */
export interface IndexerSize {
  readonly codeLength: number
  /** Characters of the index, and of the ondex where the code has one. */
  readonly indexLength: number
  readonly ondex: 'same' | 'own' | 'none'
  readonly curve: 'ed25519' | 'secp256k1' | 'p256' | 'ed448'
  readonly rawLength: number
  readonly textLength: number
}

function indexer(
  code: string,
  curve: IndexerSize['curve'],
  ondex: IndexerSize['ondex'],
  rawLength = 64,
): [string, IndexerSize] {
  const big = code.length === 2 && code[0] !== '0'
  const indexLength = big ? (rawLength === 114 ? 3 : 2) : 1
  const head = code.length + indexLength * (big ? 2 : 1)
  const textLength = rawLength === 114 ? (big ? 160 : 156) : head + 86
  return [code, { codeLength: code.length, indexLength, ondex, curve, rawLength, textLength }]
}

/** Indexed signatures by code, docs/spec/kel.md §2.2. */
export const indexerSizes: ReadonlyMap<string, IndexerSize> = new Map([
  indexer('A', 'ed25519', 'same'),
  indexer('B', 'ed25519', 'none'),
  indexer('2A', 'ed25519', 'own'),
  indexer('2B', 'ed25519', 'none'),
  indexer('C', 'secp256k1', 'same'),
  indexer('D', 'secp256k1', 'none'),
  indexer('2C', 'secp256k1', 'own'),
  indexer('2D', 'secp256k1', 'none'),
  indexer('E', 'p256', 'same'),
  indexer('F', 'p256', 'none'),
  indexer('2E', 'p256', 'own'),
  indexer('2F', 'p256', 'none'),
])

/** What an attachment group of KERI v1 counts, docs/spec/kel.md §2.3. */
export type CounterKind =
  | 'controller-signatures'
  | 'witness-signatures'
  | 'receipt-couples'
  | 'receipt-quadruples'
  | 'first-seen'
  | 'transferable-groups'
  | 'seal-couples'
  | 'last-establishment-groups'
  | 'seal-triples'
  | 'wrapper'

/**
 * Counter letters of the CESR version 1 table. Version 2 uses the same letters for other groups: never mix the tables.
 */
export const counterKindsV1: ReadonlyMap<string, CounterKind> = new Map([
  ['A', 'controller-signatures'],
  ['B', 'witness-signatures'],
  ['C', 'receipt-couples'],
  ['D', 'receipt-quadruples'],
  ['E', 'first-seen'],
  ['F', 'transferable-groups'],
  ['G', 'seal-couples'],
  ['H', 'last-establishment-groups'],
  ['I', 'seal-triples'],
  ['V', 'wrapper'],
])

/** Digits of the Base64url alphabet, in order of value. */
export const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Codes of Ed25519 keys: B cannot be rotated, D can. */
export const ed25519KeyCodes: ReadonlySet<string> = new Set(['B', 'D'])

/** Codes of 256-bit digests that commitments may use. */
export const digestCodes: ReadonlySet<string> = new Set(['E', 'F', 'G', 'H', 'I'])
