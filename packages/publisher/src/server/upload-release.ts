import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { printable } from '@keyturn/primitives'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { PublisherError } from '../errors.ts'
import type { HomeSession } from '../home-session.ts'
import type { Progress } from '../session.ts'
import type { StoredRelease } from '../records/store.ts'
import { hashFile } from '../tree/tree.ts'
import { planUpload } from './upload-plan.ts'
import type { AssembledBlob, UploadPlan } from './upload-plan.ts'

/** What an upload sent. */
export interface UploadReport {
  /** Blobs the server lacked. */
  readonly blobs: number
  /** Bytes that were sent for them. */
  readonly bytes: number
  /** Blobs the server had already. */
  readonly present: number
}

/** How a release is uploaded. */
export interface UploadReleaseOptions {
  readonly signal: AbortSignal
  readonly progress?: Progress | undefined
  /** What the release is for, in messages. */
  readonly role: string
  /** Paths of files that stay here: the key of a release that is not open yet. */
  readonly without?: ReadonlySet<string> | undefined
}

/**
 * Uploads what the server lacks of a release: of large files only what is new, the rest the server takes from blobs it
 * has. May be interrupted anywhere and repeated.
 *
 * @throws {@link PublisherError} `CLI_PATH_UNKNOWN` when a file of the release is gone, `REL_TREE_CHANGED` when one
 *   changed since it was prepared; what the server answers.
 */
export async function uploadRelease(
  home: HomeSession,
  client: ReleaseServerClient,
  release: StoredRelease,
  options: UploadReleaseOptions,
): Promise<UploadReport> {
  try {
    return await carryOut(client, await planUpload(home, client, release, options.without), options)
  } catch (error) {
    await explainUpload(error, release, options)
    throw error
  }
}

async function carryOut(
  client: ReleaseServerClient,
  plan: UploadPlan,
  { signal, progress }: UploadReleaseOptions,
): Promise<UploadReport> {
  let [done, total] = [0, plan.bytes]
  const upload = {
    signal,
    onProgress: (bytes: number) => {
      done += bytes
      progress?.update(done, total)
    },
  }
  await client.uploadMissing([...plan.whole, ...(plan.fresh === undefined ? [] : [plan.fresh])], upload)
  let { bytes } = plan
  for (const blob of plan.assembled) {
    if (await assembles(client, blob, signal)) continue
    // Nothing is lost: the whole file is sent, as to a server that cannot assemble.
    bytes += blob.source.size
    total += blob.source.size
    await client.uploadBlob(blob.source, upload)
  }
  // What was new is in the files now. A server that cannot free it collects it later.
  if (plan.fresh !== undefined) await client.freeBlobs([plan.fresh.sha256]).catch(() => undefined)
  return { blobs: plan.whole.length + plan.assembled.length, bytes, present: plan.present }
}

/** A source may have gone, or not be what its index says: then the pieces are wrong, and only the whole file helps. */
const WRONG_PIECES = new Set(['BLOB_UNKNOWN', 'UP_HASH', 'UP_LENGTH'])

async function assembles(
  client: ReleaseServerClient,
  { source, pieces }: AssembledBlob,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    return await client.assembleBlob(source, pieces, { signal })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (WRONG_PIECES.has(code)) return false
    throw error
  }
}

/** A server names a blob by its hash: says which file of the tree it is, and what to do. */
async function explainUpload(
  cause: unknown,
  { manifest, tree }: StoredRelease,
  { role, signal }: Pick<UploadReleaseOptions, 'role' | 'signal'>,
): Promise<void> {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined
  if (code !== 'ENOENT' && code !== 'ENOTDIR' && code !== 'UP_HASH' && code !== 'UP_LENGTH') return
  const { version, channel, files, launcher } = manifest
  for (const { path, sha256, size } of [...files, ...(launcher === undefined ? [] : [launcher])]) {
    const source = join(tree, path)
    const found = await stat(source).catch(() => undefined)
    if (found === undefined) {
      throw new PublisherError(
        'CLI_PATH_UNKNOWN',
        `Release ${version} of channel "${channel ?? ''}" is ${role} and needs "${printable(source)}", which is gone`,
        {
          cause,
          details: { path: printable(path), version },
          hint: `Put the folder "${printable(tree)}" back, or offer a release whose files are at hand`,
        },
      )
    }
    if (found.size === size && (await hashFile({ path, source, size, executable: false }, signal)) === sha256) continue
    throw new PublisherError(
      'REL_TREE_CHANGED',
      `"${printable(source)}" changed after release ${version} was prepared`,
      {
        cause,
        details: { path: printable(path), version },
        hint: `Put the file back, or run "keyturn release discard ${version}" and prepare the release again`,
      },
    )
  }
}
