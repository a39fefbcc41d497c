import { checkAlias } from '@keyturn/keystore'
import { checkVersionName } from '@keyturn/manifest/publish'
import type { Facts } from './facts.ts'
import type { Rotation } from './journal.ts'
import { isChannelName } from '../names.ts'

/** What a rotation of the content key set out to do. */
export interface ContentTerms {
  /** The `key_id` that was active. */
  readonly from: number
  /** The `key_id` that becomes active. */
  readonly to: number
  readonly slot: number
  readonly atMs: number
  readonly channel: string
  /** Every payload is encrypted again. */
  readonly full: boolean
  /** Alias of the archive signing key from then on; undefined when it stays, as in journals of earlier versions. */
  readonly signing?: string | undefined
  /**
   * The release that is rotated, and the version of the one that comes of it; undefined when nothing is released yet.
   */
  readonly release: { readonly base: string; readonly version: string } | undefined
}

/** What a rotation of the content key remembers. */
export interface ContentState {
  /** After the step `plan`. */
  readonly terms?: ContentTerms | undefined
  /** After the step `key`: commitment and verifier of the new key, hex. */
  readonly key?: { readonly commitment: string; readonly verifier: string } | undefined
  /** After the step `archives`: how much was rotated. */
  readonly archives?: { readonly count: number; readonly bytes: number } | undefined
  /** After the step `publish`. */
  readonly uploadedBytes?: number | undefined
}

const LAST_KEY_ID = 0xffff_ffff

function parseTerms(facts: Facts): ContentTerms {
  const [from, to] = [facts.integer('from', 0, LAST_KEY_ID), facts.integer('to', 1, LAST_KEY_ID)]
  const slot = facts.integer('slot', 1, LAST_KEY_ID)
  const base = facts.optional('base', (name) => facts.text(name, checkVersionName))
  const version = facts.optional('version', (name) => facts.text(name, checkVersionName))
  return {
    from,
    to,
    slot,
    atMs: facts.timeMs('at'),
    channel: facts.text('channel', isChannelName),
    full: facts.boolean('full'),
    signing: facts.optional('signing', (name) => facts.text(name, checkAlias)),
    release: base === undefined || version === undefined ? undefined : { base, version },
  }
}

/** The journal of `keyturn rotate content`. */
export const contentRotation: Rotation<ContentState> = {
  name: 'content',
  what: 'the content key',
  orders: [['plan', 'key', 'home', 'archives', 'manifest', 'sign', 'head', 'publish']],
  parse(facts, isDone) {
    const state: ContentState = {
      terms: isDone('plan') ? parseTerms(facts) : undefined,
      key: isDone('key') ? { commitment: facts.hex('commitment', 32), verifier: facts.hex('verifier', 32) } : undefined,
      archives: isDone('archives')
        ? {
            count: facts.integer('archives', 0, Number.MAX_SAFE_INTEGER),
            bytes: facts.integer('bytes', 0, Number.MAX_SAFE_INTEGER),
          }
        : undefined,
      uploadedBytes: isDone('publish') ? facts.integer('uploaded', 0, Number.MAX_SAFE_INTEGER) : undefined,
    }
    // Older programs wrote the folder down; where it is follows from channel and version.
    facts.optional('tree', (name) => facts.text(name))
    return state
  },
  format({ terms, key, archives, uploadedBytes }) {
    return {
      ...(terms === undefined
        ? {}
        : {
            from: terms.from,
            to: terms.to,
            slot: terms.slot,
            at: terms.atMs,
            channel: terms.channel,
            full: terms.full,
            ...(terms.signing === undefined ? {} : { signing: terms.signing }),
            ...terms.release,
          }),
      ...(key === undefined ? {} : { ...key }),
      ...(archives === undefined ? {} : { archives: archives.count, bytes: archives.bytes }),
      ...(uploadedBytes === undefined ? {} : { uploaded: uploadedBytes }),
    }
  },
}
