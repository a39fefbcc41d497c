import { VaultError } from './errors.ts'

/**
 * Where a master key is in its life (NIST SP 800-57, docs/spec/vault-kdf.md §5): `staged` (known everywhere, not yet
 * used), `active` (seals and opens; at most one), `decrypt_only`, `suspended` (nothing, until resumed), `compromised`
 * (only the sweep opens), `quarantined` (retired, can be brought back), `destroyed` (terminal: a tombstone).
 */
export type KeyState = 'staged' | 'active' | 'decrypt_only' | 'suspended' | 'compromised' | 'quarantined' | 'destroyed'

/** What somebody wants a key for. */
export type KeyUse = 'seal' | 'open' | 'sweep'

const moves: Readonly<Record<KeyState, readonly KeyState[]>> = {
  staged: ['active', 'compromised', 'destroyed'],
  active: ['decrypt_only', 'suspended', 'compromised'],
  decrypt_only: ['suspended', 'compromised', 'quarantined'],
  suspended: ['active', 'decrypt_only', 'compromised'],
  compromised: ['quarantined'],
  quarantined: ['decrypt_only', 'compromised', 'destroyed'],
  destroyed: [],
}

/** Whether a text names a state. */
export function isKeyState(value: unknown): value is KeyState {
  return typeof value === 'string' && Object.hasOwn(moves, value)
}

/**
 * Checks that a key may go from one state to another.
 *
 * @throws VaultError `VK_STATE`.
 */
export function checkMove(version: number, from: KeyState, to: KeyState): void {
  if (moves[from].includes(to)) return
  throw new VaultError('VK_STATE', `Key version ${version} is ${from}; from there it cannot become ${to}`, {
    details: { version, from, to },
    ...(to === 'active' ? { hint: 'Stage a fresh version and promote that' } : {}),
  })
}

/**
 * Checks that a key in this state may be used so.
 *
 * @throws VaultError `VK_STALE_WRITER` (sealing under anything but the active key), `VK_VERSION_SUSPENDED`,
 * `VK_VERSION_COMPROMISED`, `VK_VERSION_RETIRED`.
 */
export function checkUse(version: number, state: KeyState, use: KeyUse): void {
  const details = { version, state }
  if (use === 'seal') {
    if (state === 'active') return
    throw new VaultError(
      'VK_STALE_WRITER',
      `Key version ${version} is ${state}; writes go under the active version only`,
      { details },
    )
  }
  switch (state) {
    case 'quarantined':
    case 'destroyed':
      throw new VaultError('VK_VERSION_RETIRED', `Key version ${version} was retired: it is ${state}`, { details })
    case 'suspended':
      throw new VaultError('VK_VERSION_SUSPENDED', `Key version ${version} is suspended`, { details })
    case 'compromised':
      if (use === 'open')
        throw new VaultError(
          'VK_VERSION_COMPROMISED',
          `Key version ${version} is compromised; only the sweep opens it`,
          { details },
        )
      return
    case 'staged':
    case 'active':
    case 'decrypt_only':
      return
  }
}
