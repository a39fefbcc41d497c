import { readFile, readdir } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { isRecord, parseStrictJson, printable, wipe } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import { Kel, KelError } from '@keyturn/kel'
import type { LogStorage } from '@keyturn/kel'
import { fileLog, gitStore } from '@keyturn/kel/node'
import { pathInside } from '../inside.ts'
import type { PublisherHost } from '../session.ts'
import { PublisherError } from '../errors.ts'
import { homePaths, lockHome } from '../home.ts'
import { Keys } from '../keys.ts'
import { openHome } from '../home-session.ts'
import type { HomeSession } from '../home-session.ts'

/** Largest log of an identity of ours, bytes. */
const MAX_LOG_BYTES = 64 * 1024 * 1024

/** Where one pre-rotated key is stored: a file of its own, and its alias in there. */
export interface NextKeyPlace {
  readonly alias: string
  readonly file: string
}

/** Names of an identity's keys: what changes with each rotation. */
export interface IdentityNames {
  /** Alias of the current key in the keystore. */
  readonly alias: string
  readonly next: readonly NextKeyPlace[]
}

/** An identity of this home, ready to be read or rotated. */
export interface Identity extends IdentityNames {
  /** `release`: made by `keyturn init`, its rotations seal the role document; `named`: made by `keyturn id init`. */
  readonly kind: 'release' | 'named'
  readonly prefix: string
  /**
   * File of the log; for one in git, where its inception waits for its witnesses. Its folder has what belongs to the
   * log.
   */
  readonly logPath: string
  /** The log at rest. */
  readonly log: LogStorage
  /** The git repository with the log; undefined when it is in the file. */
  readonly repository: string | undefined
  /** Folder for the journal of a rotation. */
  readonly journals: string
  /** Name of that journal. */
  readonly journal: string
  /** Folder of the role documents of a release identity. */
  readonly rolesFolder: string | undefined
  /** The keystore with the current key; asks for its passphrase the first time. */
  keys(): Promise<Keys>
  /** A file with a next key. */
  nextKeys(file: string): Promise<Keys>
  /**
   * Writes down the names that are in force from now on.
   *
   * @param at - When the key came into force, ISO 8601.
   */
  rename(names: IdentityNames, at: string): Promise<void>
}

/** How an identity is found and opened. */
export interface OpenIdentityOptions {
  /** Alias of its current key, or its prefix. Default: the release identity, else the only named one. */
  readonly alias?: string | undefined
  /** Take the lock of the home. */
  readonly write?: boolean | undefined
  /** Passphrase of the files with next keys, when it is another one. */
  readonly nextPassphraseFile?: string | undefined
}

/** What is written down about a named identity, in `identities/<prefix>/identity.json`. Public names only. */
interface NamedRecord {
  readonly format: 'keyturn-identity'
  readonly version: 1
  readonly prefix: string
  readonly alias: string
  readonly next: readonly NextKeyPlace[]
  /** When the key in force came into force, ISO 8601; records of earlier versions do not say. */
  readonly since?: string | undefined
  /** Where the log is, when it is not in the file beside. Programs that do not know it find no log, and write none. */
  readonly log?: { readonly store: 'git'; readonly repository: string } | undefined
}

const namedFolder = 'identities'

/** The folder of a named identity. */
export function namedIdentityFolder(home: string, prefix: string): string {
  return join(home, namedFolder, prefix)
}

/** What the record of a named identity says beside its names. */
export interface NamedRecordFacts {
  /** When the key in force came into force, ISO 8601. */
  readonly since?: string | undefined
  /** The git repository with its log, absolute; undefined for a log in the folder. */
  readonly repository?: string | undefined
}

/** Writes the record of a named identity, whole or not at all. */
export async function writeNamedRecord(
  folder: string,
  prefix: string,
  names: IdentityNames,
  { since, repository }: NamedRecordFacts = {},
): Promise<void> {
  const next = names.next.map(({ alias, file }) => ({ alias, file: relativeInside(folder, file) }))
  const log = repository === undefined ? undefined : ({ store: 'git', repository } as const)
  const { alias: name } = names
  const record: NamedRecord = { format: 'keyturn-identity', version: 1, prefix, alias: name, next, since, log }
  await writeFileAtomic(
    join(folder, 'identity.json'),
    new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`),
    { mode: 0o600 },
  )
}

/** Files inside the folder are named relative to it, so that a home can be moved. */
function relativeInside(folder: string, file: string): string {
  return pathInside(folder, file) ?? file
}

function isNamedRecord(value: unknown): value is NamedRecord {
  if (!isRecord(value)) return false
  const { format, version, prefix, alias, next, since, log } = value
  return (
    (since === undefined || (typeof since === 'string' && !Number.isNaN(Date.parse(since)))) &&
    (log === undefined || (isRecord(log) && log['store'] === 'git' && typeof log['repository'] === 'string')) &&
    format === 'keyturn-identity' &&
    version === 1 &&
    typeof prefix === 'string' &&
    typeof alias === 'string' &&
    Array.isArray(next) &&
    next.every((place) => isRecord(place) && typeof place['alias'] === 'string' && typeof place['file'] === 'string')
  )
}

async function readNamedRecord(folder: string): Promise<NamedRecord> {
  const path = join(folder, 'identity.json')
  const value: unknown = parseStrictJson(await readFile(path), { maxBytes: 64 * 1024 })
  if (!isNamedRecord(value)) throw new PublisherError('CLI_HOME_FORMAT', `"${path}" is not an identity of version 1`)
  const { format, version, prefix, alias, since, log } = value
  return {
    format,
    version,
    prefix,
    alias,
    since,
    log,
    next: value.next.map(({ alias, file }) => ({ alias, file: isAbsolute(file) ? file : join(folder, file) })),
  }
}

/** Every named identity of a home. */
export async function listNamedIdentities(
  home: string,
): Promise<readonly { prefix: string; alias: string; since: string | undefined }[]> {
  const folder = join(home, namedFolder)
  if (!(await pathExists(folder))) return []
  const records = []
  for (const name of (await readdir(folder)).sort()) {
    if (await pathExists(join(folder, name, 'identity.json'))) records.push(await readNamedRecord(join(folder, name)))
  }
  return records.map(({ prefix, alias, since }) => ({ prefix, alias, since }))
}

/** Where the log of a named identity is. */
export async function namedIdentityLog(
  home: string,
  prefix: string,
): Promise<Pick<Identity, 'log' | 'logPath' | 'prefix' | 'repository'>> {
  const folder = namedIdentityFolder(home, prefix)
  return { prefix, ...logOf(folder, await readNamedRecord(folder)) }
}

function logOf(folder: string, { prefix, log }: NamedRecord): Pick<Identity, 'log' | 'logPath' | 'repository'> {
  const logPath = join(folder, 'log.cesr')
  if (log === undefined) return { logPath, log: fileLog(logPath), repository: undefined }
  return { logPath, log: gitStore(log.repository).log(prefix), repository: log.repository }
}

/** The files of a named identity that a passphrase opens. */
export async function namedIdentityFiles(
  home: string,
  prefix: string,
): Promise<{ readonly keystore: string; readonly next: readonly string[] }> {
  const folder = namedIdentityFolder(home, prefix)
  const { next } = await readNamedRecord(folder)
  return { keystore: join(folder, 'keystore'), next: [...new Set(next.map(({ file }) => file))] }
}

/**
 * A keystore of the identity; the file of a promised key keeps no earlier generation, which would hold that key too.
 */
async function openKeys(
  host: PublisherHost,
  path: string,
  use: 'current' | 'next',
  file: string | undefined,
): Promise<Keys> {
  const label = use === 'current' ? 'Passphrase' : 'Passphrase of the next identity key'
  const passphrase = await host.passphrase(label, { file })
  try {
    const keys = await Keys.open(path, passphrase, { clock: host.clock, keepPrevious: use === 'current' })
    host.defer(() => keys.close())
    return keys
  } finally {
    wipe(passphrase)
  }
}

async function openNamed(host: PublisherHost, prefix: string, options: OpenIdentityOptions): Promise<Identity> {
  const folder = namedIdentityFolder(host.homeFolder, prefix)
  if (options.write === true) await lockHome(host)
  let record = await readNamedRecord(folder)
  const opened = new Map<string, Promise<Keys>>()
  const once = (path: string, use: 'current' | 'next', file?: string): Promise<Keys> => {
    const known = opened.get(path) ?? openKeys(host, path, use, file)
    opened.set(path, known)
    return known
  }
  return {
    kind: 'named',
    prefix,
    ...logOf(folder, record),
    journals: join(folder, 'journals'),
    journal: 'identity',
    rolesFolder: undefined,
    get alias() {
      return record.alias
    },
    get next() {
      return record.next
    },
    keys: () => once(join(folder, 'keystore'), 'current'),
    nextKeys: (file) => once(file, 'next', options.nextPassphraseFile),
    async rename(names, at) {
      await writeNamedRecord(folder, prefix, names, { since: at, repository: record.log?.repository })
      record = { ...record, ...names, since: at }
    },
  }
}

/**
 * The release identity of an open home.
 *
 * @param session - The home; locked when it is to be rotated.
 */
export function releaseIdentity(session: HomeSession): Identity {
  const { paths } = session
  return {
    kind: 'release',
    prefix: session.description.identity.prefix,
    logPath: paths.identityLog,
    log: fileLog(paths.identityLog),
    repository: undefined,
    journals: paths.journals,
    journal: 'identity-key',
    rolesFolder: paths.roles,
    get alias() {
      return session.description.identity.alias
    },
    get next() {
      return [{ alias: session.description.identity.nextAlias, file: session.nextKeyFile }]
    },
    keys: () => session.keys(),
    nextKeys: (file) => session.nextKeys(file),
    // Where the next key's file is kept stays as it was written down: a flag says where it is for now.
    async rename({ alias, next: [place] }, at) {
      if (place === undefined) throw new TypeError('A release identity needs a next key')
      const { identity, since } = session.description
      await session.update({
        identity: { ...identity, alias, nextAlias: place.alias },
        since: { [alias]: at, ...since },
      })
    },
  }
}

/**
 * Opens an identity of the home: the release identity, or a named one by the alias of its current key or its prefix.
 *
 * @throws {@link PublisherError} `CLI_HOME_MISSING`, `CLI_USAGE` when the alias is unknown or has to be given.
 */
export async function openIdentity(host: PublisherHost, options: OpenIdentityOptions = {}): Promise<Identity> {
  const named = await listNamedIdentities(host.homeFolder)
  const hasHome = await pathExists(homePaths(host.homeFolder).description)
  const { alias } = options
  const match = named.filter((identity) => alias === undefined || identity.alias === alias || identity.prefix === alias)
  if (hasHome && (alias === undefined || match.length === 0)) {
    const session = await openHome(host, {
      write: options.write ?? false,
      nextPassphraseFile: options.nextPassphraseFile,
    })
    const release = releaseIdentity(session)
    if (alias === undefined || release.alias === alias || release.prefix === alias) return release
  }
  const [only] = match
  if (only !== undefined && match.length === 1) return await openNamed(host, only.prefix, options)
  if (alias === undefined && named.length === 0) {
    throw new PublisherError('CLI_HOME_MISSING', `No identity in "${host.homeFolder}"`, {
      hint: 'If you had keys, bring them back with "keyturn restore FILE"; to begin, run "keyturn init" or "keyturn id init"',
    })
  }
  const known = named.map((identity) => identity.alias).join(', ')
  throw new PublisherError(
    'CLI_USAGE',
    alias === undefined
      ? `Several identities: give --alias (${known})`
      : `No identity has the alias "${printable(alias)}"`,
  )
}

/** What a command needs to mean this identity: nothing for that of the home, which is the default. */
export function aliasFlag({ kind, alias }: Pick<Identity, 'kind' | 'alias'>): string {
  return kind === 'named' ? ` --alias ${alias}` : ''
}

/**
 * Opens and verifies the log of an identity of ours.
 *
 * @throws {@link KelError} `KEL_LOG_MISSING` when there is none, `KEL_WITNESS` when its inception waits for its
 *   witnesses; those of {@link Kel.open}.
 */
export async function openOwnLog(identity: Pick<Identity, 'log' | 'logPath' | 'prefix' | 'repository'>): Promise<Kel> {
  const kel = await Kel.open(identity.log, identity.prefix, { own: true, maxLogBytes: MAX_LOG_BYTES })
  if (kel.isStarted || (await identity.log.read()) !== undefined) return kel
  if (identity.repository === undefined || !(await pathExists(identity.logPath))) throw missingLog(identity)
  throw new KelError('KEL_WITNESS', 'The inception waits for the signatures of its witnesses', {
    hint: `Run "keyturn id witness collect --alias ${identity.prefix}"`,
  })
}

/**
 * The stored bytes of the log of an identity of ours, not verified: those of an inception that waits for its witnesses
 * too.
 *
 * @throws {@link KelError} `KEL_LOG_MISSING`.
 */
export async function readOwnLog(
  identity: Pick<Identity, 'log' | 'logPath' | 'prefix' | 'repository'>,
): Promise<Uint8Array> {
  const stored = await identity.log.read()
  if (stored !== undefined) return stored.stream
  if (identity.repository !== undefined && (await pathExists(identity.logPath))) return await readFile(identity.logPath)
  throw missingLog(identity)
}

function missingLog({ prefix, repository }: Pick<Identity, 'prefix' | 'repository'>): KelError {
  const where = repository === undefined ? 'this home' : `the repository "${repository}"`
  return new KelError('KEL_LOG_MISSING', `There is no log of ${prefix} in ${where}`, {
    hint:
      repository === undefined
        ? 'Restore the home from a backup: keyturn restore'
        : `Fetch refs/keri/${prefix}/kel into it, or restore the home from a backup`,
  })
}
