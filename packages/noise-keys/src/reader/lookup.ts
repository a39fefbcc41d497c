import { requireList, requireMembers } from '@keyturn/primitives'
import type { KeyDirectory } from '../directory.ts'
import { NoiseKeysError } from '../errors.ts'
import type { KeyFloors } from './floors.ts'
import type { TransportIdentity } from '../identity.ts'
import { isUsable, verifyKeys } from './verify-keys.ts'
import type { KeyVerdict, ReaderPolicy } from './verify-keys.ts'

/** How {@link lookUpKeys} looks. */
export interface LookupOptions {
  readonly nowS: number
  readonly policy?: Partial<ReaderPolicy> | undefined
  /** Ask past every cache; done by itself when an identity is seen for the first time. */
  readonly fresh?: boolean | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Finds the keys of an identity and verifies them. Where nothing can be reached, keys accepted before count within
 * their window only.
 *
 * @param floors - Changed: store them afterwards, and before a key is used.
 * @throws {@link NoiseKeysError} `NK_UNREACHABLE` when nothing can be reached and nothing was accepted before.
 */
export async function lookUpKeys(
  directory: KeyDirectory,
  identity: TransportIdentity,
  floors: KeyFloors,
  options: LookupOptions,
): Promise<KeyVerdict[]> {
  requireMembers(directory, 'directory', ['read'])
  requireMembers(identity, 'identity', ['name', 'publicKey'])
  requireMembers(floors, 'floors', ['of'])
  requireMembers(options, 'options', ['nowS'])
  const { nowS, policy, signal } = options
  const known = floors.of(identity.name).validated !== undefined
  try {
    const published = await directory.read(identity, {
      fresh: options.fresh ?? !known,
      signal,
    })
    return verifyKeys(identity, published, floors, { nowS, policy })
  } catch (error) {
    if (!(error instanceof NoiseKeysError) || error.code !== 'NK_UNREACHABLE' || !known) throw error
    return verifyKeys(identity, undefined, floors, { nowS, policy })
  }
}

/**
 * The key to start a session with.
 *
 * @throws {@link NoiseKeysError} the code of the best verdict there is; `NK_NOT_FOUND` without any.
 */
export function preferredKey(verdicts: readonly KeyVerdict[]): KeyVerdict & { readonly publicKey: Uint8Array } {
  requireList(verdicts, 'verdicts')
  const [best] = verdicts
  if (best === undefined) throw new NoiseKeysError('NK_NOT_FOUND', 'The identity has published no key')
  if (isUsable(best) && best.publicKey !== undefined) return { ...best, publicKey: best.publicKey }
  throw new NoiseKeysError(
    best.code ?? 'NK_UNVERIFIABLE',
    `No key may be used; of device "${best.device}": ${best.reason}`,
  )
}
