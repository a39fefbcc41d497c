import { isRecord, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { compareLogs } from '../compare-logs.ts'
import { KelError } from '../errors.ts'
import type { VerifiedEvent } from '../log.ts'
import type { VerifiedLog } from '../verified-log.ts'
import { verifyLog } from '../verify-log.ts'
import { readRegistry, REGISTRY_REF, registryFolder } from './auths-log.ts'
import { git, refuseBorrowedObjects } from './git.ts'
import { GitRepository } from './git-repository.ts'

/** How events are written into the registry of auths. */
export interface WriteRegistryOptions {
  /** Time of the commits, milliseconds since the epoch. */
  readonly nowMs: number
}

const MAX_METADATA_BYTES = 64 * 1024
const MAX_LOG_BYTES = 64 * 1024 * 1024

/**
 * Adds the events of a log that the registry of auths (`refs/auths/registry`) lacks: one commit each, as auths makes
 * them. The other files of the registry stay. auths itself checks and moves the ref in two steps, so it must not run
 * meanwhile.
 *
 * @param repo - The repository.
 * @param log - The whole, verified log.
 * @returns How many events were added.
 * @throws {@link KelError} `KEL_CONFLICT` when the registry has more events or another process moved the ref first,
 *   `KEL_DUPLICITY` when it has others, `KEL_SEQ` when it has one that a rotation displaced, `KEL_CORRUPT`, `KEL_IO`.
 */
export async function writeAuthsRegistry(
  repo: string,
  log: VerifiedLog,
  { nowMs }: WriteRegistryOptions,
): Promise<number> {
  const repository = new GitRepository(repo)
  const tip = await repository.resolve(REGISTRY_REF)
  const held = await readRegistry(repo, log.prefix, tip)
  const events = missingEvents(log, held)
  const temporaries: string[] = []
  let parent = tip
  for (const event of events) {
    const { id, temporary } = await repository.write({
      files: [...eventFiles(log.prefix, event), ...(event.sn === 0 ? [await metadata(repository, parent, nowMs)] : [])],
      message: `Append event ${log.prefix} seq ${event.sn}\n`,
      atMs: nowMs,
      parent,
      keep: true,
    })
    temporaries.push(temporary)
    parent = id
  }
  if (parent === undefined || events.length === 0) return 0
  if (!(await repository.swap([{ ref: REGISTRY_REF, id: parent, old: tip }], temporaries)))
    throw new KelError('KEL_CONFLICT', `Another process moved ${REGISTRY_REF} first`, {
      details: { ref: REGISTRY_REF },
    })
  return events.length
}

/** A place of the registry is taken for good: an interaction that a rotation displaced cannot be replaced there. */
function missingEvents(log: VerifiedLog, held: Uint8Array | undefined): readonly VerifiedEvent[] {
  if (held === undefined) return log.events
  const known = verifyLog(held, { prefix: log.prefix, maxBytes: MAX_LOG_BYTES })
  const { relation } = compareLogs(known, log)
  if (relation === 'behind')
    throw new KelError(
      'KEL_CONFLICT',
      `The registry has ${known.events.length} events, this log ${log.events.length}`,
      {
        hint: 'Import the events of the registry first',
      },
    )
  if (relation === 'forked')
    throw new KelError('KEL_DUPLICITY', 'The registry has other events of this identity than this log')
  const taken = known.events.findIndex(({ said }, sn) => log.events[sn]?.said !== said)
  if (taken >= 0)
    throw new KelError('KEL_SEQ', `A rotation displaced event ${taken}, which the registry cannot replace`)
  return log.events.slice(known.events.length)
}

function eventFiles(prefix: string, event: VerifiedEvent): { path: string; bytes: Uint8Array }[] {
  const folder = registryFolder(prefix)
  const name = `${folder}/events/${String(event.sn).padStart(8, '0')}`
  const tip = { version: 1, sequence: event.sn, said: event.said }
  return [
    { path: `${name}.json`, bytes: event.raw },
    { path: `${name}.attachments.cesr`, bytes: event.message.subarray(event.raw.length) },
    { path: `${folder}/tip.json`, bytes: json(tip) },
  ]
}

function json(value: object): Uint8Array {
  return utf8Encode(`${JSON.stringify(value, null, 2)}\n`)
}

/** The counts of the registry with one identity more. */
async function metadata(
  repository: GitRepository,
  commit: string | undefined,
  nowMs: number,
): Promise<{ path: string; bytes: Uint8Array }> {
  const path = 'v1/metadata.json'
  const id = commit === undefined ? undefined : (await repository.files(commit)).get(path)
  const [bytes] = id === undefined ? [] : await repository.blobs([id])
  const before: unknown = bytes === undefined ? {} : parseStrictJson(bytes, { maxBytes: MAX_METADATA_BYTES })
  if (!isRecord(before)) throw new KelError('KEL_CORRUPT', `"${path}" of the registry is not an object`)
  const { identity_count: count } = before
  return {
    path,
    bytes: json({
      version: 1,
      device_count: 0,
      member_count: 0,
      ...before,
      identity_count: (typeof count === 'number' ? count : 0) + 1,
      updated_at: new Date(nowMs).toISOString(),
    }),
  }
}

/**
 * Refuses a folder that git cannot write logs into, before anything is written.
 *
 * @throws {@link KelError} `KEL_IO`.
 */
export async function checkRepository(repo: string): Promise<void> {
  await git(repo, ['rev-parse', '--git-dir'])
  await refuseBorrowedObjects(repo)
}
