import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { combineDirectories, parseIdentityName, releaseServerDirectory, transportIdentity } from '@keyturn/noise-keys'
import { emptyMetadata, formatMetadata, parseMetadata } from '@keyturn/noise-keys/owner'
import { KeyFloors } from '@keyturn/noise-keys/reader'
import type { KeyDirectory, TransportIdentity } from '@keyturn/noise-keys'
import type { RotationPolicy, TransportMetadata } from '@keyturn/noise-keys/owner'
import { folderDirectory } from '@keyturn/noise-keys/node'
import type { PublisherHost } from '../session.ts'
import { homePaths } from '../home.ts'
import type { HomePaths } from '../home.ts'
import { openHome } from '../home-session.ts'
import type { HomeSession } from '../home-session.ts'
import { openClient } from '../server/server.ts'
import { readIfThere } from '../records/store.ts'

/** Seconds since the epoch, as records have it. */
export function nowSeconds(host: PublisherHost): number {
  return Math.floor(host.clock() / 1000)
}

/** The transport keys of a home: metadata in a file, the cold seed in the keystore or nowhere near. */
export interface TransportHome {
  readonly session: HomeSession
  readonly paths: HomePaths
  readonly metadata: TransportMetadata
  /** Whether the metadata has been stored before. */
  readonly exists: boolean
  store(metadata: TransportMetadata): Promise<void>
  /** Lends the cold seed for the length of one call. Asks for the passphrase. */
  withSeed<T>(use: (seed: Uint8Array) => T | Promise<T>): Promise<T>
}

/** Name of the file below `transport/`. */
const METADATA_FILE = 'keys.json'
const FLOORS_FILE = 'floors.json'
/** What is published, as a folder any web server can serve. */
const PUBLISHED_FOLDER = 'published'

/**
 * Opens the transport keys of a home.
 *
 * @throws {@link PublisherError} `CLI_HOME_MISSING`; `NK_METADATA`.
 */
export async function openTransport(
  host: PublisherHost,
  options: { write?: boolean; identity?: string; policy?: Partial<RotationPolicy> } = {},
): Promise<TransportHome> {
  const session = await openHome(host, { write: options.write === true && !host.dryRun })
  const { paths } = session
  const file = join(paths.transport, METADATA_FILE)
  const bytes = await readIfThere(file)
  const withSeed = async <T>(use: (seed: Uint8Array) => T | Promise<T>): Promise<T> => {
    return await (await session.keys()).lend(session.description.aliases.transportIdentity, use)
  }
  return {
    session,
    paths,
    metadata: bytes === undefined ? await firstMetadata(session, options) : parseMetadata(bytes),
    exists: bytes !== undefined,
    withSeed,
    async store(metadata) {
      await mkdir(paths.transport, { recursive: true })
      await writeFileAtomic(file, formatMetadata(metadata), { mode: 0o600 })
    },
  }
}

async function firstMetadata(
  session: HomeSession,
  options: { identity?: string; policy?: Partial<RotationPolicy> },
): Promise<TransportMetadata> {
  if (options.identity !== undefined) return emptyMetadata(parseIdentityName(options.identity).name, options.policy)
  const publicKey = await (await session.keys()).publicKey(session.description.aliases.transportIdentity)
  return emptyMetadata(transportIdentity(publicKey).name, options.policy)
}

/** Who writes to a release server, and with which token. */
export interface ServerWriter {
  readonly session: HomeSession
  /** `--token-file`. */
  readonly tokenFile?: string | undefined
}

/**
 * Where keys are published: as {@link directoriesOf}, and what is written to a server carries the publisher's token.
 *
 * @throws {@link PublisherError} `CLI_USAGE`, `CLI_PATH_UNKNOWN`.
 */
export async function writableDirectoriesOf(
  host: PublisherHost,
  flags: readonly string[] | undefined,
  writer: ServerWriter,
): Promise<KeyDirectory[]> {
  const { description, paths } = writer.session
  const directories = directoriesOf(host, flags, description.server)
  return await Promise.all(
    directories.map(async (directory) => {
      if (!isAddress(directory.name)) return directory
      const token = writer.tokenFile === undefined ? {} : { tokenFile: writer.tokenFile }
      const { putRecord, putList, putPacket } = (
        await openClient({ server: directory.name, ...token }, { description, paths })
      ).keyDirectory()
      return { ...directory, putRecord, putList, putPacket }
    }),
  )
}

/** Whether a place is a server and not a folder. */
export function isAddress(place: string): boolean {
  return /^https?:\/\//.test(place)
}

/**
 * Where keys are published or looked up: addresses of release servers and folders, as flags name them; without flags
 * the home's folder `transport/published`, and its server.
 */
export function directoriesOf(
  host: PublisherHost,
  flags: readonly string[] | undefined,
  server?: string,
): KeyDirectory[] {
  if (flags !== undefined && flags.length > 0) return flags.map((place) => directoryAt(host, place))
  const folder = folderDirectory(join(homePaths(host.homeFolder).transport, PUBLISHED_FOLDER))
  return server === undefined ? [folder] : [folder, directoryAt(host, server)]
}

/** Several directories as one. */
export function directoryOf(directories: readonly KeyDirectory[]): KeyDirectory {
  const [only, ...more] = directories
  return only !== undefined && more.length === 0 ? only : combineDirectories(directories)
}

function directoryAt(host: PublisherHost, place: string): KeyDirectory {
  return isAddress(place) ? releaseServerDirectory(place, { clock: host.clock }) : folderDirectory(place)
}

/** The rollback floors of this home, and how they are stored again. */
export async function openFloors(host: PublisherHost): Promise<{ floors: KeyFloors; store(): Promise<void> }> {
  const folder = homePaths(host.homeFolder).transport
  const file = join(folder, FLOORS_FILE)
  const bytes = await readIfThere(file)
  const floors = bytes === undefined ? new KeyFloors() : KeyFloors.parse(bytes)
  return {
    floors,
    async store() {
      await mkdir(folder, { recursive: true })
      await writeFileAtomic(file, floors.format(), { mode: 0o600 })
    },
  }
}

/** The identity that was named, or the home's own. */
export async function identityOf(host: PublisherHost, name: string | undefined): Promise<TransportIdentity> {
  if (name !== undefined) return parseIdentityName(name)
  return parseIdentityName((await openTransport(host)).metadata.identity)
}
