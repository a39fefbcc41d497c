import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** One log of the signify file. */
export interface Suite {
  readonly id: string
  readonly pre: string
  readonly stream: string
  readonly events: readonly {
    readonly ilk: string
    readonly sn: number
    readonly said: string
    readonly raw: string
    readonly message: string
    readonly attachments: string
  }[]
  readonly authoritative?: readonly string[]
  readonly superseded?: readonly string[]
  readonly keripy: {
    readonly final: Readonly<Record<string, FinalState>>
    readonly first_seen_order: Readonly<Record<string, readonly string[]>>
  }
}

/** Key state as keripy ends up with it. */
export interface FinalState {
  readonly sn: string
  readonly said: string
  readonly ilk: string
  readonly k: readonly string[]
  readonly n: readonly string[]
  readonly b: readonly string[]
  readonly bt: string
  readonly est_only: boolean
  readonly transferable: boolean
  readonly last_est: { readonly s: string; readonly d: string }
}

/** One stream whose last message is out of order in some way. */
export interface BadStream {
  readonly id: string
  readonly what: string
  readonly stream: readonly string[]
  readonly want: string
  readonly stricter_than_keripy?: boolean
  readonly keripy: Suite['keripy']
}

/** The signify file. */
export interface SignifyVectors {
  readonly keys: Readonly<
    Record<
      string,
      {
        readonly seed_hex: string
        readonly seed_qb64: string
        readonly public_hex: string
        readonly public_qb64: string
        readonly next_digest: string
        readonly transferable: boolean
      }
    >
  >
  readonly suites: readonly Suite[]
  readonly bad: readonly BadStream[]
  readonly receipts: readonly { readonly id: string; readonly for: string; readonly message: string }[]
}

/** Reads the signify file, a copy of which is beside the tests. */
export function signifyVectors(): SignifyVectors {
  return JSON.parse(readFileSync(new URL('../vectors/keri-signify.json', import.meta.url), 'utf8')) as SignifyVectors
}

const folder = fileURLToPath(new URL('../../../../../shared/vectors/', import.meta.url))

/** Whether the folder of published vectors is beside the checkout; says so when it does not. */
export const haveVectors: boolean = existsSync(folder)
if (!haveVectors) console.info('skipped: the folder of published vectors is not beside this checkout')

/** An event found in keripy's own tests. */
export interface KeripyEvent {
  readonly source: string
  readonly version: 1 | 2
  readonly ilk: string
  readonly said: string
  readonly said_checked: boolean | null
  readonly raw: string
  readonly attachments: string | null
}

/** keripy's events and primitives. */
export interface KeripyVectors {
  readonly events: readonly KeripyEvent[]
  readonly other_messages: readonly KeripyEvent[]
  readonly auths_fixtures: Readonly<Record<string, unknown>>
  readonly auths_keripy_fixtures: Readonly<Record<string, string>>
  readonly primitives: {
    readonly salts: readonly {
      readonly public_hex: string
      readonly public_D: string
      readonly public_B: string
      readonly next_digest_of_D: string
      readonly wrong_digest_over_raw: string
    }[]
    readonly matter: readonly { readonly code: string; readonly raw_hex: string; readonly qb64: string }[]
    readonly indexer: readonly {
      readonly code: string
      readonly index: number
      readonly ondex_given: number | null
      readonly ondex: number | null
      readonly raw_hex: string
      readonly qb64: string
    }[]
    readonly counter_v1: readonly { readonly code: string; readonly count: number; readonly qb64: string }[]
    readonly seqner: readonly { readonly sn: number; readonly hex: string; readonly qb64: string }[]
    readonly tholder: readonly {
      readonly sith: unknown
      readonly keys: number
      readonly minimal_satisfying: readonly (readonly number[])[]
    }[]
    readonly tholder_bad: readonly { readonly sith: unknown; readonly accepted: boolean }[]
    readonly ample: readonly { readonly n: number; readonly toad: number }[]
  }
}

/** Reads keripy's events in place. */
export function keripyVectors(): KeripyVectors {
  return JSON.parse(readFileSync(`${folder}keri.json`, 'utf8')) as KeripyVectors
}

const encoder = new TextEncoder()

/** Text as bytes. */
export function bytes(text: string): Uint8Array {
  return encoder.encode(text)
}
