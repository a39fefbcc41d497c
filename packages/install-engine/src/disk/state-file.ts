import { isRecord, parseStrictJson } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { readSmallFile, writeSmallFile } from './disk.ts'
import type { Layout } from './layout.ts'

/** Names one release by what was signed. */
export interface ReleaseRef {
  readonly version: string
  /** 0 for a schema 1 manifest, which has none. */
  readonly sequence: number
  readonly epoch: number
  readonly channel: string
  readonly manifestSha256: string
  /** The role document it was accepted under; 0 under pinned keys. */
  readonly rolesVersion: number
}

/** `state.json`: what is installed and how its starts went. */
export interface InstallState {
  readonly schema: 1
  readonly installed: ReleaseRef | undefined
  /** Whether a start of it lived long enough. */
  readonly confirmed: boolean
  /** Starts of it that did not. */
  readonly failedStarts: number
  /** The release before, while its files are kept in `backup/<transaction>`. */
  readonly previous: { readonly release: ReleaseRef; readonly transaction: string; readonly at: number } | undefined
  /** Manifests that were rolled back here; not offered again. */
  readonly failed: readonly string[]
  /** Whether the files must all be verified before the next start. */
  readonly suspect: boolean
  /**
   * The release that a low-space update is on its way to: until it is there the install is a mixture that nobody plays.
   */
  readonly partial: ReleaseRef | undefined
}

/** The state of an empty folder. */
export const emptyState: InstallState = Object.freeze({
  schema: 1,
  installed: undefined,
  confirmed: false,
  failedStarts: 0,
  previous: undefined,
  failed: [],
  suspect: false,
  partial: undefined,
})

const MAX_STATE_BYTES = 1024 * 1024

/** Reads a release reference back; `undefined` for anything else. */
export function parseReleaseRef(value: unknown): ReleaseRef | undefined {
  if (!isRecord(value)) return undefined
  const { version, sequence, epoch, channel, manifestSha256, rolesVersion } = value
  if (typeof version !== 'string' || typeof channel !== 'string') return undefined
  if (typeof sequence !== 'number' || typeof epoch !== 'number' || typeof rolesVersion !== 'number') return undefined
  if (typeof manifestSha256 !== 'string' || !/^[0-9a-f]{64}$/.test(manifestSha256)) return undefined
  return { version, sequence, epoch, channel, manifestSha256, rolesVersion }
}

function parseState(bytes: Uint8Array): InstallState | undefined {
  const value: unknown = parseStrictJson(bytes)
  if (!isRecord(value) || value['schema'] !== 1) return undefined
  const previous = value['previous']
  const before = isRecord(previous) ? parseReleaseRef(previous['release']) : undefined
  const failed = Array.isArray(value['failed'])
    ? value['failed'].filter((entry): entry is string => typeof entry === 'string')
    : []
  return {
    schema: 1,
    installed: parseReleaseRef(value['installed']),
    confirmed: value['confirmed'] === true,
    failedStarts: typeof value['failedStarts'] === 'number' ? value['failedStarts'] : 0,
    previous:
      before !== undefined &&
      isRecord(previous) &&
      typeof previous['transaction'] === 'string' &&
      typeof previous['at'] === 'number'
        ? { release: before, transaction: previous['transaction'], at: previous['at'] }
        : undefined,
    failed,
    suspect: value['suspect'] === true,
    partial: parseReleaseRef(value['partial']),
  }
}

/** Reads `state.json`; a missing or damaged one is the empty state (what is installed is then found by its hashes). */
export async function readState(fs: FileSystem, layout: Layout): Promise<{ state: InstallState; damaged: boolean }> {
  const bytes = await readSmallFile(fs, layout.state, MAX_STATE_BYTES)
  if (bytes === undefined) return { state: emptyState, damaged: false }
  try {
    const state = parseState(bytes)
    if (state !== undefined) return { state, damaged: false }
  } catch {
    // Not even JSON: the same answer as a wrong shape.
  }
  return { state: { ...emptyState, suspect: true }, damaged: true }
}

/** Writes `state.json`. */
export async function writeState(fs: FileSystem, layout: Layout, state: InstallState): Promise<void> {
  await writeSmallFile(fs, layout.state, new TextEncoder().encode(`${JSON.stringify(state, null, 2)}\n`))
}
