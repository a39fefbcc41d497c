import { realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { sha256DigestSeal, verifyLog } from '@keyturn/kel'
import type { VerifiedLog } from '@keyturn/kel'
import { sealedRoles } from '@keyturn/manifest'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import { pathInside } from '../inside.ts'
import { PublisherError } from '../errors.ts'
import { readIfThere } from '../records/store.ts'
import { openOwnLog } from './identity.ts'
import type { Identity } from './identity.ts'

// A rotation that is in the log but was not published is only on the machine that made it, and the file of the next key
// on its own medium has followed it. Were that machine lost, the key that the published log promises would be gone with
// it. So the medium keeps a copy of the log, and of the role document that the log seals last: both are public.

/** The copy of a log that is kept beside a file with next keys. */
export interface LogCopy {
  readonly path: string
  readonly bytes: Uint8Array
  readonly log: VerifiedLog
  /** The role document that the log seals last; undefined where it seals none, or that of the copy is not it. */
  readonly roles: { readonly version: number; readonly bytes: Uint8Array } | undefined
}

const MAX_COPY_BYTES = 64 * 1024 * 1024

/** Where the copies are: on the medium of the file, wherever a link leads. */
async function copyPaths(nextKeyFile: string): Promise<{ log: string; roles: string }> {
  const file = await realpath(nextKeyFile)
  return { log: `${file}.log.cesr`, roles: `${file}.roles.json` }
}

/** A file in the folder of the log is lost with it, so it needs no copy. */
function isBesideLog({ logPath }: Identity, file: string): boolean {
  return pathInside(dirname(logPath), file) !== undefined
}

/**
 * Keeps a copy of the log beside each file with next keys that is stored elsewhere; the log comes last, so that what it
 * seals is there. A file that is not at hand is passed over: it was not changed either.
 *
 * @param files - The files that hold next keys now.
 */
export async function writeLogCopies(identity: Identity, files: readonly string[]): Promise<void> {
  const bytes = await (await openOwnLog(identity)).export()
  const log = verifyLog(bytes, { prefix: identity.prefix, maxBytes: MAX_COPY_BYTES })
  const last = identity.rolesFolder === undefined ? undefined : sealedRoles(log).at(-1)
  for (const file of new Set(files)) {
    if (isBesideLog(identity, file) || !(await pathExists(file))) continue
    const paths = await copyPaths(file)
    if (isBesideLog(identity, paths.log)) continue
    if (last !== undefined) {
      const roles = await readIfThere(join(identity.rolesFolder as string, `${last.version}.json`))
      if (roles !== undefined) await writeFileAtomic(paths.roles, roles, { mode: 0o600 })
    }
    await writeFileAtomic(paths.log, bytes, { mode: 0o600 })
  }
}

/**
 * Reads the copy beside a file with next keys, and verifies all of it: nobody has to trust the medium.
 *
 * @returns undefined when there is none.
 * @throws KelError for a copy that is not a valid log of this identity.
 */
export async function readLogCopy(
  { prefix }: Pick<Identity, 'prefix'>,
  nextKeyFile: string,
): Promise<LogCopy | undefined> {
  if (!(await pathExists(nextKeyFile))) return undefined
  const paths = await copyPaths(nextKeyFile)
  const bytes = await readIfThere(paths.log)
  if (bytes === undefined) return undefined
  const log = verifyLog(bytes, { prefix, maxBytes: MAX_COPY_BYTES })
  const document = await readIfThere(paths.roles)
  // An identity that publishes no releases seals no role documents, and has none beside the log.
  const last = document === undefined ? undefined : sealedRoles(log).at(-1)
  const isSealed = last !== undefined && document !== undefined && sha256DigestSeal(document).d === last.seal
  return { path: paths.log, bytes, log, roles: isSealed ? { version: last.version, bytes: document } : undefined }
}

/**
 * Puts the role document of a copy into the home, where the log seals one that is not there. Before the log is taken
 * over, so that a home never has a log without what it seals.
 *
 * @throws {@link PublisherError} `CLI_HOME_FORMAT` when a document that the copy seals is in neither place.
 */
export async function adoptRoles({ rolesFolder }: Identity, { path, log, roles }: LogCopy): Promise<void> {
  if (rolesFolder === undefined) return
  for (const sealed of sealedRoles(log)) {
    const place = join(rolesFolder, `${sealed.version}.json`)
    const stored = await readIfThere(place)
    if (stored !== undefined && sha256DigestSeal(stored).d === sealed.seal) continue
    if (roles?.version !== sealed.version) {
      throw new PublisherError(
        'CLI_HOME_FORMAT',
        `Role document ${sealed.version}, which "${path}" seals, is missing`,
        {
          hint: `Put it into "${rolesFolder}", from a backup or from the release server, and run the command again`,
        },
      )
    }
    await writeFileAtomic(place, roles.bytes, { mode: 0o600 })
  }
}
