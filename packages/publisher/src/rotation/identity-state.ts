import { parseRoles } from '@keyturn/manifest'
import { base64Encode } from '@keyturn/primitives'
import { checkAlias } from '@keyturn/keystore'
import type { Facts } from './facts.ts'
import type { Rotation } from './journal.ts'
import { formatKeyRotation, KEY_ROTATION_STEPS, parseKeyRotation } from './key-state.ts'
import type { KeyRotationState } from './key-state.ts'
import { isChannelName } from '../names.ts'

/** What a rotation of the release identity set out to do. */
export interface IdentityTerms {
  readonly atMs: number
  /** Version of the role document that it seals. */
  readonly rolesVersion: number
  /** Keystore alias of the release key after the rotation. */
  readonly release: string
  /** Keystore alias of the head key after the rotation. */
  readonly head: string
  /** Whether it rotates the release key by itself; undefined in journals that do not say. */
  readonly releaseKey: boolean | undefined
  /** The same for the head key. */
  readonly headKey: boolean | undefined
  /** Whether the outgoing keys are revoked. */
  readonly revoke: boolean
  /** Whether keys that were made on a machine that is lost are replaced too. */
  readonly lostKeys?: boolean | undefined
  readonly rolesDays: number
  /** Channels whose release is signed again. */
  readonly channels: readonly string[]
  /** Literal bytes of the role document to seal, when one was proposed. */
  readonly proposal: Uint8Array | undefined
}

/** What a rotation of the release identity remembers. */
export interface IdentityState extends KeyRotationState {
  /** Keys that left with the rotation before and are to be revoked by this one, hex. */
  readonly alsoRevoke?: readonly string[] | undefined
  /** After the step `plan`. */
  readonly terms?: IdentityTerms | undefined
  /** After the step `roles`: literal bytes of the role document. */
  readonly roles?: Uint8Array | undefined
}

function parseTerms(facts: Facts): IdentityTerms {
  return {
    atMs: facts.timeMs('at'),
    rolesVersion: facts.integer('roles_version', 2, Number.MAX_SAFE_INTEGER),
    release: facts.text('release', checkAlias),
    head: facts.text('head', checkAlias),
    releaseKey: facts.optional('release_key', (name) => facts.boolean(name)),
    headKey: facts.optional('head_key', (name) => facts.boolean(name)),
    revoke: facts.boolean('revoke'),
    lostKeys: facts.optional('lost_keys', (name) => facts.boolean(name)),
    rolesDays: facts.integer('roles_days', 1, 400),
    channels: facts.words('channels', isChannelName),
    proposal: facts.optional('proposal', (name) => documentIn(facts, name)),
  }
}

function documentIn(facts: Facts, name: string): Uint8Array {
  const bytes = facts.base64(name)
  facts.parsed(name, () => parseRoles(bytes))
  return bytes
}

/** The journal of `keyturn rotate identity`, `release` and `head`, and of `keyturn roles seal`. */
export const identityRotation: Rotation<IdentityState> = {
  name: 'identity',
  what: 'the identity',
  orders: [['plan', 'keys', 'roles', ...KEY_ROTATION_STEPS, 'home', 'sign', 'publish']],
  parse(facts, isDone) {
    return {
      alsoRevoke: facts.optional('also_revoke', (name) => facts.words(name, (text) => /^[0-9a-f]{64}$/.test(text))),
      terms: isDone('plan') ? parseTerms(facts) : undefined,
      roles: isDone('roles') ? documentIn(facts, 'roles') : undefined,
      ...parseKeyRotation(facts, isDone),
    }
  },
  format(state) {
    const { alsoRevoke, terms, roles } = state
    return {
      ...(alsoRevoke === undefined ? {} : { also_revoke: [...alsoRevoke] }),
      ...(terms === undefined
        ? {}
        : {
            at: terms.atMs,
            roles_version: terms.rolesVersion,
            release: terms.release,
            head: terms.head,
            ...(terms.releaseKey === undefined ? {} : { release_key: terms.releaseKey }),
            ...(terms.headKey === undefined ? {} : { head_key: terms.headKey }),
            revoke: terms.revoke,
            ...(terms.lostKeys === true ? { lost_keys: true } : {}),
            roles_days: terms.rolesDays,
            channels: [...terms.channels],
            ...(terms.proposal === undefined ? {} : { proposal: base64Encode(terms.proposal) }),
          }),
      ...(roles === undefined ? {} : { roles: base64Encode(roles) }),
      ...formatKeyRotation(state),
    }
  },
}
