import { equalBytes, hexDecode } from '@keyturn/primitives'
import { checkKeyVersion, checkMasterKey, fingerprintMasterKey } from './derive.ts'
import { VaultError } from './errors.ts'
import { checkMove } from './key-state.ts'
import type { KeyState } from './key-state.ts'
import { fingerprintText } from './keyring-document.ts'
import type { KeyringDocument, KeyringEntry } from './keyring-document.ts'
import type { LegacyProfile } from './legacy.ts'
import { MAX_KEY_VERSIONS } from './limits.ts'

/** How long a version stays in quarantine before it may be destroyed: 7 days. */
export const defaultQuarantineMs = 7 * 24 * 60 * 60 * 1000

/** The entry of a version. @throws VaultError `VK_VERSION_UNKNOWN`. */
export function findEntry(document: KeyringDocument, version: number): KeyringEntry {
  const entry = document.entries.find((candidate) => candidate.version === version)
  if (entry === undefined)
    throw new VaultError('VK_VERSION_UNKNOWN', `The keyring has no key version ${version}`, { details: { version } })
  return entry
}

/** The active version, if there is one (none while it is suspended or compromised). */
export function activeVersion(document: KeyringDocument): number | undefined {
  return document.entries.find((entry) => entry.state === 'active')?.version
}

/** The lowest version number never used. */
export function nextVersion(document: KeyringDocument): number {
  return 1 + Math.max(0, ...document.entries.map((entry) => entry.version))
}

/** A master to add: its plaintext serves for the fingerprint alone. */
export interface NewMaster {
  readonly plaintext: Uint8Array
  readonly wrapped: Uint8Array
}

/**
 * Adds a version in state `staged`: known, not yet used.
 *
 * @throws VaultError `VK_VERSION_EXISTS`, `VK_KEY`, `VK_KEY_REUSED`, `VK_LIMIT`.
 */
export function stage(document: KeyringDocument, version: number, master: NewMaster, at: number): KeyringDocument {
  return addEntry(document, newEntry(document, version, master, { state: 'staged', at }))
}

/**
 * Adds a master of a HexVault deployment: it opens what that wrote and never seals.
 *
 * @throws VaultError as {@link stage}.
 */
export function addLegacyMaster(
  document: KeyringDocument,
  version: number,
  { legacyProfiles, ...master }: NewMaster & { readonly legacyProfiles: readonly LegacyProfile[] },
  at: number,
): KeyringDocument {
  const entry = newEntry(document, version, master, { state: 'decrypt_only', at })
  return addEntry({ ...document, legacy: 'accept' }, { ...entry, legacyProfiles })
}

function newEntry(
  document: KeyringDocument,
  version: number,
  master: NewMaster,
  { state, at }: { readonly state: KeyState; readonly at: number },
): KeyringEntry {
  checkKeyVersion(version)
  checkMasterKey(master.plaintext)
  if (document.entries.some((entry) => entry.version === version)) {
    throw new VaultError('VK_VERSION_EXISTS', `Key version ${version} exists already`, { details: { version } })
  }
  if (document.entries.length >= MAX_KEY_VERSIONS)
    throw new VaultError('VK_LIMIT', `A keyring holds at most ${MAX_KEY_VERSIONS} versions`)
  const fingerprint = fingerprintMasterKey(master.plaintext)
  const same = document.entries.find((entry) => equalBytes(hexDecode(entry.fingerprint), fingerprint))
  if (same !== undefined) {
    throw new VaultError('VK_KEY_REUSED', `The new master is the one of key version ${same.version}`, {
      details: { version: same.version },
    })
  }
  return {
    version,
    state,
    fingerprint: fingerprintText(fingerprint),
    wrapped: master.wrapped,
    history: [{ state, at }],
  }
}

function addEntry(document: KeyringDocument, entry: KeyringEntry): KeyringDocument {
  const entries = [...document.entries, entry].toSorted((a, b) => a.version - b.version)
  return { ...document, epoch: document.epoch + 1, entries }
}

function move(document: KeyringDocument, version: number, state: KeyState, at: number): KeyringDocument {
  const entry = findEntry(document, version)
  checkMove(version, entry.state, state)
  const moved = { ...entry, state, history: [...entry.history, { state, at }] }
  return { ...document, entries: document.entries.map((other) => (other.version === version ? moved : other)) }
}

function nextEpoch(document: KeyringDocument): KeyringDocument {
  return { ...document, epoch: document.epoch + 1 }
}

/** Options of {@link promote}. */
export interface PromoteOptions {
  /** Instead of acknowledgements by every registered node: how long the version must have been staged. */
  readonly minimumStagedMs?: number | undefined
}

/**
 * Makes a staged version the active one; the active one so far becomes `decrypt_only`.
 *
 * @throws VaultError `VK_STATE`, `VK_ACKNOWLEDGE`.
 */
export function promote(
  document: KeyringDocument,
  version: number,
  at: number,
  options: PromoteOptions = {},
): KeyringDocument {
  const entry = findEntry(document, version)
  if (entry.state !== 'staged') {
    throw new VaultError('VK_STATE', `Key version ${version} is ${entry.state}; only a staged one is promoted`, {
      details: { version, from: entry.state, to: 'active' },
      hint: 'Stage a fresh version and promote that',
    })
  }
  checkKnown(document, entry, at, options)
  const active = activeVersion(document)
  const demoted = active === undefined ? document : move(document, active, 'decrypt_only', at)
  return nextEpoch(move(demoted, version, 'active', at))
}

/** Every node must have the key before anybody writes under it, or its reads would fail. */
function checkKnown(document: KeyringDocument, entry: KeyringEntry, at: number, options: PromoteOptions): void {
  const stagedAt = entry.history[0]?.at ?? at
  if (options.minimumStagedMs !== undefined) {
    if (at - stagedAt >= options.minimumStagedMs) return
    throw new VaultError(
      'VK_ACKNOWLEDGE',
      `Key version ${entry.version} has been staged for ${at - stagedAt} ms, ${options.minimumStagedMs} are wanted`,
    )
  }
  const missing = document.nodes.filter((node) => node.acknowledgedEpoch < document.epoch).map((node) => node.id)
  if (missing.length === 0) return
  throw new VaultError('VK_ACKNOWLEDGE', `Key version ${entry.version} is not yet loaded by: ${missing.join(', ')}`, {
    details: { nodes: missing.join(',') },
  })
}

/** Stops all use of a version until {@link resume}. Writes fail while the active one is suspended. */
export function suspend(document: KeyringDocument, version: number, at: number): KeyringDocument {
  return nextEpoch(move(document, version, 'suspended', at))
}

/** Ends a suspension: back to `active` when there is no other active version, else to `decrypt_only`. */
export function resume(document: KeyringDocument, version: number, at: number): KeyringDocument {
  const entry = findEntry(document, version)
  if (entry.state !== 'suspended') checkMove(version, entry.state, 'active')
  const wasActive = entry.history.at(-2)?.state === 'active'
  const state = wasActive && activeVersion(document) === undefined ? 'active' : 'decrypt_only'
  return nextEpoch(move(document, version, state, at))
}

/** Marks a version as known to others: only the sweep opens it from now on. */
export function compromise(document: KeyringDocument, version: number, at: number): KeyringDocument {
  return nextEpoch(move(document, version, 'compromised', at))
}

/**
 * Retires a version: nothing opens under it, but it can be brought back.
 *
 * @param options - `census` counts the records that are still sealed under it.
 * @throws VaultError `VK_STATE`, `VK_SWEEP_INCOMPLETE`.
 */
export function quarantine(document: KeyringDocument, version: number, census: number, at: number): KeyringDocument {
  const moved = move(document, version, 'quarantined', at)
  checkCensus(version, census)
  return nextEpoch(moved)
}

function checkCensus(version: number, census: number): void {
  if (census === 0) return
  throw new VaultError('VK_SWEEP_INCOMPLETE', `${census} records are still sealed under key version ${version}`, {
    details: { version, count: census },
    hint: 'Run the sweep to its end first',
  })
}

/** Brings a quarantined version back to `decrypt_only`. */
export function restore(document: KeyringDocument, version: number, at: number): KeyringDocument {
  const entry = findEntry(document, version)
  if (entry.state !== 'quarantined') checkMove(version, entry.state, 'quarantined')
  return nextEpoch(move(document, version, 'decrypt_only', at))
}

/** Options of {@link destroy}. */
export interface DestroyOptions {
  /** Default 7 days. */
  readonly quarantineMs?: number | undefined
  /**
   * Destroys although records remain or the quarantine has not passed. The number must be the exact count of records
   * that will be lost, so that nobody does this without having looked.
   */
  readonly forceWithCensus?: number | undefined
}

/**
 * Destroys a version for good; a tombstone with fingerprint, dates and last census stays.
 *
 * @param options - `census` counts the records that are still sealed under it.
 * @throws VaultError `VK_STATE`, `VK_SWEEP_INCOMPLETE`, `VK_QUARANTINE`.
 */
export function destroy(
  document: KeyringDocument,
  version: number,
  at: number,
  { census, ...options }: DestroyOptions & { readonly census: number },
): KeyringDocument {
  const entry = findEntry(document, version)
  const { quarantineMs = defaultQuarantineMs, forceWithCensus } = options
  checkMove(version, entry.state, 'destroyed')
  if (forceWithCensus === undefined) {
    checkCensus(version, census)
    checkQuarantine(entry, at, quarantineMs)
  } else if (forceWithCensus !== census) {
    throw new VaultError(
      'VK_SWEEP_INCOMPLETE',
      `Forcing needs the exact count: ${census} records remain, ${forceWithCensus} was given`,
      {
        details: { version, count: census },
      },
    )
  }
  const { wrapped: _gone, ...rest } = findEntry(move(document, version, 'destroyed', at), version)
  const tombstone: KeyringEntry = {
    ...rest,
    state: 'destroyed',
    finalCensus: census,
    history: [...entry.history, { state: 'destroyed', at }],
  }
  return nextEpoch({
    ...document,
    entries: document.entries.map((other) => (other.version === version ? tombstone : other)),
  })
}

function checkQuarantine(entry: KeyringEntry, at: number, quarantineMs: number): void {
  if (entry.state === 'staged') return // never used
  const since = entry.history.at(-1)?.at ?? at
  if (at - since >= quarantineMs) return
  throw new VaultError(
    'VK_QUARANTINE',
    `Key version ${entry.version} is in quarantine until ${new Date(since + quarantineMs).toISOString()}`,
    {
      details: { version: entry.version, until: since + quarantineMs },
    },
  )
}

/** Registers a node, or takes note of the epoch it has loaded. */
export function acknowledge(document: KeyringDocument, id: string, epoch: number): KeyringDocument {
  const others = document.nodes.filter((node) => node.id !== id)
  return {
    ...document,
    nodes: [...others, { id, acknowledgedEpoch: epoch }].toSorted((a, b) => (a.id < b.id ? -1 : 1)),
  }
}

/** Forgets a node that is gone. */
export function removeNode(document: KeyringDocument, id: string): KeyringDocument {
  return nextEpoch({ ...document, nodes: document.nodes.filter((node) => node.id !== id) })
}

/** Says whether bytes without a header are read as HexVault's. */
export function setLegacyPolicy(document: KeyringDocument, legacy: 'accept' | 'refuse'): KeyringDocument {
  return nextEpoch({ ...document, legacy })
}
