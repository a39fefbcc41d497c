import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { findKills, writeKills } from '@keyturn/manifest/kill'
import { openKeystore } from '@keyturn/keystore/node'
import { parseMetadata, recoverTransportSecret } from '@keyturn/noise-keys/owner'
import { KeyturnError, wipe } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { FolderStore, openKeyFile } from '@keyturn/vault-kdf/node'
import type { HomePaths } from '../home.ts'
import type { HomeDescription } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { knownVaults } from '../known-vaults.ts'
import {
  listNamedIdentities,
  namedIdentityFiles,
  namedIdentityFolder,
  namedIdentityLog,
  openOwnLog,
} from '../identity/identity.ts'
import { readBackupMark } from '../records/backup-mark.ts'
import { readRestored } from '../records/freshness.ts'
import { readHomeKills } from '../release/kill.ts'
import { readIfThere, rolesInForce } from '../records/store.ts'
import { identityRotation } from '../rotation/identity-state.ts'
import { contentRotation } from '../rotation/content-state.ts'
import { pendingRotations, readRotation } from '../rotation/journal.ts'
import { keyRotation } from '../rotation/key-state.ts'
import { finishingCommand } from '../rotation/pending.ts'
import { transportRotation } from '../rotation/transport-state.ts'
import { vaultRotation } from '../rotation/vault.ts'
import { readContacts } from '../transport/contacts.ts'

/** What one check found. */
export interface RestFinding {
  readonly level: 'ok' | 'warning' | 'error'
  readonly message: string
  /** The command that fixes it; empty when nothing is wrong. */
  readonly fix: string
}

/**
 * Keys in force that have ended themselves.
 *
 * @param shown - `kills.json` of the server, where it was asked: then only what this home does not know is reported.
 */
export async function checkKills(home: HomeSession, shown?: Uint8Array): Promise<RestFinding[]> {
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const own = findKills([writeKills(await readHomeKills(home.paths))], document).keys
  const ended = shown === undefined ? own : findKills([shown], document).keys.filter((key) => !own.includes(key))
  return ended.map((key) => {
    const role = document.roles.head.keys.includes(key) ? 'head' : 'release'
    const who = shown === undefined ? '' : ', and this home did not end it'
    const message = `${role} key ${key.slice(0, 16)} has ended${who}: launchers install nothing that it signs`
    return { level: 'error', message, fix: `keyturn rotate ${role}` }
  })
}

/** Identities of `keyturn id init`: their logs, their files, rotations that wait. */
export async function checkNamedIdentities(home: HomeSession): Promise<RestFinding[]> {
  const { folder } = home.paths
  const findings: RestFinding[] = []
  const named = await listNamedIdentities(folder)
  for (const { alias, prefix } of named) {
    const say = (level: RestFinding['level'], message: string, fix: string): void =>
      void findings.push({ level, message: `identity "${alias}": ${message}`, fix })
    const place = namedIdentityFolder(folder, prefix)
    const log = await namedIdentityLog(folder, prefix)
    await openOwnLog(log).catch((error: unknown) => {
      // Without the receipts of its witnesses a new identity has no log yet.
      if (isCode(error, 'KEL_WITNESS'))
        say('warning', 'its witnesses have not signed yet', `keyturn id witness collect --alias ${alias}`)
      else if (log.repository === undefined) say('error', messageOf(error), 'keyturn restore')
      else say('error', messageOf(error), `git -C ${log.repository} fetch REMOTE refs/keri/${prefix}/kel`)
    })
    const { keystore, next } = await namedIdentityFiles(folder, prefix)
    for (const path of [keystore, ...next]) {
      const problem = await problemOfKeystore(home, path)
      if (problem !== undefined) say(problem.level, problem.message, 'keyturn restore')
    }
    if (!(await pathExists(keystore))) say('error', 'its keystore is gone', 'keyturn restore')
    for (const file of next)
      if (!(await pathExists(file)) && file.startsWith(place))
        say(
          'warning',
          `its next key is not in "${file}"`,
          `keyturn id rotate --alias ${alias} --next-key-file FILE --dry-run`,
        )
    const journals = join(place, 'journals')
    if ((await pendingRotations(journals)).length === 0) continue
    const command = `keyturn id rotate --alias ${alias}`
    await readRotation(journals, keyRotation({ journal: 'identity' })).then(
      () => say('warning', 'a rotation was interrupted', command),
      (error: unknown) => say('error', messageOf(error), `${command} --abandon`),
    )
  }
  for (const name of await foldersWithoutRecord(folder))
    findings.push({ level: 'error', message: `"${name}" has no identity.json`, fix: 'keyturn restore' })
  if (findings.length === 0 && named.length > 0)
    findings.push({ level: 'ok', message: `${named.length} of "id init", each log is whole`, fix: '' })
  return findings
}

async function foldersWithoutRecord(home: string): Promise<string[]> {
  const folder = namedIdentityFolder(home, '')
  if (!(await pathExists(folder))) return []
  const names = (await readdir(folder)).toSorted()
  const has = await Promise.all(names.map((name) => pathExists(join(folder, name, 'identity.json'))))
  return names.filter((_, index) => has[index] === false)
}

/** What is wrong with a keystore that is there; another passphrase cannot be told from some damage. */
async function problemOfKeystore(
  home: HomeSession,
  path: string,
): Promise<{ readonly level: 'warning' | 'error'; readonly message: string } | undefined> {
  if (!(await pathExists(path))) return undefined
  try {
    const recovery = await home.withPassphrase(async (passphrase) => {
      const keystore = await openKeystore(path, passphrase)
      keystore.close()
      return keystore.recovery
    })
    if (recovery === undefined) return undefined
    return { level: 'error', message: `"${path}" is damaged; the generation before it opens` }
  } catch (error) {
    if (!isCode(error, 'KEY_PASSPHRASE')) return { level: 'error', message: messageOf(error) }
    return { level: 'warning', message: `"${path}" has another passphrase than the home, or is damaged` }
  }
}

/** The transport keys: what is written down of each is what the seed gives. */
export async function checkTransportKeys(home: HomeSession): Promise<RestFinding[]> {
  const { paths, description } = home
  await readContacts(paths)
  const bytes = await readIfThere(join(paths.transport, 'keys.json'))
  if (bytes === undefined) return await checkNoTransportKeys(paths)
  const { keys } = parseMetadata(bytes)
  await (
    await home.keys()
  ).lend(description.aliases.transportIdentity, (seed) => {
    for (const key of keys) if (key.generation !== 'random') wipe(recoverTransportSecret(seed, key))
  })
  return [{ level: 'ok', message: `${keys.length} written down, each the one that the seed gives`, fix: '' }]
}

/** A home without transport keys: most have none; after a rotation of the transport identity the first one is missing. */
async function checkNoTransportKeys({ folder, transport }: HomePaths): Promise<RestFinding[]> {
  if (await pathExists(join(transport, 'published')))
    return [{ level: 'error', message: 'transport keys were published, and keys.json is gone', fix: 'keyturn restore' }]
  const isReplaced = (await readdir(folder)).some((name) => /^transport\.\d+$/.test(name))
  return isReplaced
    ? [
        {
          level: 'warning',
          message: 'the transport identity was replaced, and the new one has not published a key yet',
          fix: 'keyturn noise publish --hand-over',
        },
      ]
    : []
}

/** Journals of interrupted rotations that cannot be read; that a rotation was interrupted is said with what is due. */
export async function checkPendingRotations(home: HomeSession): Promise<RestFinding[]> {
  const { journals } = home.paths
  const kinds = [
    contentRotation,
    identityRotation,
    keyRotation({ journal: 'identity-key' }),
    transportRotation,
    vaultRotation,
  ]
  const findings: RestFinding[] = []
  for (const name of await pendingRotations(journals)) {
    const command = await finishingCommand(journals, name)
    try {
      for (const kind of kinds) if (kind.name === name) await readRotation<unknown>(journals, kind)
    } catch (error) {
      findings.push({ level: 'error', message: messageOf(error), fix: `${command} --abandon` })
    }
  }
  return findings
}

/** The vault of the home, and whether the passphrase of the home opens the vaults elsewhere that it knows. */
export async function checkVaults(home: HomeSession): Promise<RestFinding[]> {
  const findings = await checkVault(home)
  for (const path of await knownVaults(home.paths.folder)) {
    const problem = await problemOfKeyFile(home, path)
    if (problem !== undefined)
      findings.push({ ...problem, fix: 'keyturn vault status --vault PATH, with its passphrase' })
  }
  return findings
}

async function problemOfKeyFile(
  home: HomeSession,
  path: string,
): Promise<{ readonly level: 'warning' | 'error'; readonly message: string } | undefined> {
  if (!(await pathExists(path)))
    return { level: 'warning', message: `"${path}" is not there: bring its medium, or remove it from vaults.json` }
  try {
    await home.withPassphrase(async (passphrase) => (await openKeyFile(path, passphrase)).dispose())
    return undefined
  } catch (error) {
    if (!isCode(error, 'VK_PASSPHRASE')) return { level: 'error', message: messageOf(error) }
    return { level: 'warning', message: `"${path}" has another passphrase than the home, or is damaged` }
  }
}

/** The vault of the home: its key file is there, and every segment of its store can be read. */
async function checkVault(home: HomeSession): Promise<RestFinding[]> {
  const path = join(home.paths.folder, 'vault')
  const [hasKey, hasStore] = [
    await pathExists(join(path, 'vault.key')),
    await pathExists(join(path, 'segment-00000001.log')),
  ]
  if (!hasKey && !hasStore) return []
  if (!hasStore) return [{ level: 'error', message: 'the vault has a key and no records', fix: 'keyturn restore' }]
  const findings: RestFinding[] = hasKey
    ? []
    : [
        {
          level: 'warning',
          message: 'no key file is in the vault: it opens with the keychain of its machine only',
          fix: 'keyturn vault status --keychain, to try',
        },
      ]
  try {
    const store = await FolderStore.open(path, { lockWaitMs: 2000 })
    await store.close()
    if (hasKey)
      await home.withPassphrase(async (passphrase) =>
        (await openKeyFile(join(path, 'vault.key'), passphrase)).dispose(),
      )
  } catch (error) {
    if (isCode(error, 'VK_PASSPHRASE'))
      return [
        ...findings,
        {
          level: 'warning',
          message: 'the vault has another passphrase than the home, or its key file is damaged',
          fix: 'keyturn vault status, with its passphrase',
        },
      ]
    return [...findings, { level: 'error', message: messageOf(error), fix: 'keyturn restore' }]
  }
  return findings.length > 0
    ? findings
    : [{ level: 'ok', message: 'the vault has its key file, its store can be read', fix: '' }]
}

/** Keys in force that came after a backup: restored from it, the home could release nothing. */
function keysAfter({ aliases, contentKeys, since = {} }: HomeDescription, backupMs: number): string[] {
  const made = contentKeys
    .filter(({ status }) => status === 'active')
    .map(({ keyId, created }) => [`content/${keyId}`, created] as const)
  const signing = [aliases.release, aliases.head].map((alias) => [alias, since[alias]] as const)
  return [...signing, ...made].filter(([, at]) => at !== undefined && Date.parse(at) > backupMs).map(([alias]) => alias)
}

/** Whether the home came out of a backup, and when one was last made. */
export async function checkBackups(home: HomeSession, nowMs: number): Promise<RestFinding[]> {
  const { folder } = home.paths
  const restored = await readRestored(folder)
  const findings: RestFinding[] =
    restored === undefined
      ? []
      : [
          {
            level: 'warning',
            message: `restored from a backup at ${restored}: it may be older than what was published since`,
            fix: 'keyturn id import FILE, with the published log',
          },
        ]
  const madeMs = await readBackupMark(folder)
  if (madeMs === undefined)
    return [
      ...findings,
      { level: 'warning', message: 'no backup of this home was ever made', fix: 'keyturn backup FILE' },
    ]
  const newer = keysAfter(home.description, madeMs)
  if (newer.length > 0)
    return [
      ...findings,
      { level: 'warning', message: `the last backup has not ${newer.join(', ')}`, fix: 'keyturn backup FILE' },
    ]
  const days = Math.floor((nowMs - madeMs) / 86_400_000)
  return [...findings, { level: 'ok', message: `last backup ${days <= 0 ? 'today' : `${days} days ago`}`, fix: '' }]
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof KeyturnError && error.code === code
}

/** What is wrong with the home; faults of ours pass. */
function messageOf(error: unknown): string {
  if (error instanceof KeyturnError && error.kind !== 'bug') return `${error.message} (${error.code})`
  throw error
}
