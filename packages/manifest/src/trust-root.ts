import { printable, requireText } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { isPublicKeyHex } from './fields.ts'
import { parseTime } from './time.ts'

/** Trust in an identity: a key event log, and a place it has to pass through. */
export interface KelRoot {
  readonly kind: 'kel'
  /** Prefix of the identity. */
  readonly prefix: string
  /** The event the log has to hold; absent for a bare prefix, which is accepted with a warning. */
  readonly place?: { readonly sn: number; readonly said: string }
}

/** A key of the original launcher. */
export interface PinnedKey {
  /** Ed25519 public key, 64 lower-case hex. */
  readonly key: string
  /** Counts for nothing from this moment on, `YYYY-MM-DDTHH:MM:SSZ`. */
  readonly until?: string
}

/** Trust in fixed keys, as the original launcher has it; `manifest.json.sig` is what they sign. */
export interface PinnedKeysRoot {
  readonly kind: 'pinned-keys'
  /** Any one of them suffices. */
  readonly keys: readonly PinnedKey[]
}

/** What an install trusts before it has seen anything. */
export type TrustRoot = KelRoot | PinnedKeysRoot

const KERI = /^did:keri:([A-Za-z0-9_-]{44})(?:\?(.*))?$/
const SAID = /^[A-Za-z0-9_-]{44}$/
const SN = /^(?:0|[1-9][0-9]{0,14})$/

function refuse(text: string, why: string): never {
  throw new ManifestError('TRUST_INVALID', `Cannot use trust root "${printable(text, 200)}": ${why}`)
}

function parseKelRoot(text: string, match: RegExpExecArray): KelRoot {
  const prefix = match[1] as string
  if (match[2] === undefined) return { kind: 'kel', prefix }
  const query = new Map(match[2].split('&').map((pair) => pair.split('=', 2) as [string, string | undefined]))
  const [sn, said] = [query.get('sn'), query.get('said')]
  if (query.size !== 2 || sn === undefined || said === undefined) refuse(text, 'expected sn and said')
  if (!SN.test(sn)) refuse(text, 'sn is not a decimal number')
  if (!SAID.test(said)) refuse(text, 'said is not a SAID')
  return { kind: 'kel', prefix, place: { sn: Number(sn), said } }
}

/**
 * Checks a list of pinned keys.
 *
 * @throws {@link ManifestError} `TRUST_INVALID` for an empty list, a weak or doubled key, a time that is none.
 */
export function pinnedKeysRoot(keys: readonly PinnedKey[]): PinnedKeysRoot {
  if (keys.length === 0) refuse('', 'no key is pinned')
  for (const { key, until } of keys) {
    if (!isPublicKeyHex(key)) refuse(key, 'it is not the hex of a sound Ed25519 public key')
    if (until !== undefined && parseTime(until) === undefined)
      refuse(until, 'it is not a time like 2026-11-21T00:00:00Z')
  }
  if (new Set(keys.map(({ key }) => key)).size !== keys.length) refuse('', 'a key is pinned twice')
  return { kind: 'pinned-keys', keys }
}

/**
 * Reads a trust root as people write it: `did:keri:<prefix>?sn=<decimal>&said=<SAID>`, a bare `did:keri:<prefix>`,
 * or `key:<64 hex>` (several with commas, each with an optional `@<until>`).
 *
 * @throws {@link ManifestError} `TRUST_INVALID`.
 */
export function parseTrustRoot(text: string): TrustRoot {
  requireText(text, 'text')
  const match = KERI.exec(text)
  if (match !== null) return parseKelRoot(text, match)
  if (!text.startsWith('key:')) refuse(text, 'expected did:keri:<prefix>?sn=<number>&said=<SAID> or key:<64 hex>')
  const keys = text.split(',').map((part) => {
    const [key = '', until] = part.replace(/^key:/, '').split('@', 2)
    return until === undefined ? { key } : { key, until }
  })
  return pinnedKeysRoot(keys)
}

/** Writes a trust root as {@link parseTrustRoot} reads it. */
export function formatTrustRoot(root: TrustRoot): string {
  if (root.kind === 'pinned-keys')
    return root.keys.map(({ key, until }) => `key:${key}${until === undefined ? '' : `@${until}`}`).join(',')
  const { prefix, place } = root
  return place === undefined ? `did:keri:${prefix}` : `did:keri:${prefix}?sn=${place.sn}&said=${place.said}`
}
