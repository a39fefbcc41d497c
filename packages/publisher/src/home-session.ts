import { isAbsolute, join, resolve } from 'node:path'
import { wipe } from '@keyturn/primitives'
import type { PublisherHost } from './session.ts'
import { homePaths, lockHome, readHome, writeHome } from './home.ts'
import type { HomeDescription, HomePaths } from './home.ts'
import type { Keys } from './keys.ts'

/** An open home: where things lie, what is in force, and the secrets, each opened when first asked for. */
export interface HomeSession {
  readonly paths: HomePaths
  /** What is in force; changed by {@link HomeSession.update} only. */
  readonly description: HomeDescription
  /** The keystore; asks for the passphrase the first time. */
  keys(): Promise<Keys>
  /** The file with the pre-rotated identity key. */
  nextKeys(file?: string): Promise<Keys>
  /** Path of that file. */
  readonly nextKeyFile: string
  /** Lends the passphrase of the home for one call, for what else it may open. */
  withPassphrase<T>(use: (passphrase: Uint8Array) => Promise<T>): Promise<T>
  /** Changes what is in force, on disk first. */
  update(change: Partial<HomeDescription>): Promise<void>
}

/** How a home is opened. */
export interface OpenHomeOptions {
  /** Take the lock: for every command that changes the home. */
  readonly write?: boolean | undefined
  /** Another passphrase file for the next identity key; default: the same passphrase. */
  readonly nextPassphraseFile?: string | undefined
  /** Where the file with the next identity key is now, when it is not where the home says. */
  readonly nextKeyFile?: string | undefined
}

/**
 * Opens the home of a command. Keystores are closed when the command is over.
 *
 * @param host - The command.
 * @param options - Whether it will be changed.
 * @throws {@link PublisherError} `CLI_HOME_MISSING`, `CLI_HOME_FORMAT`; `PRIM_LOCKED`.
 */
export async function openHome(host: PublisherHost, options: OpenHomeOptions = {}): Promise<HomeSession> {
  const folder = host.homeFolder
  const paths = homePaths(folder)
  let description = await readHome(folder)
  if (options.write === true) {
    await lockHome(host)
    description = await readHome(folder)
  }
  const open = new Map<string, Promise<Keys>>()
  const openOnce = (path: string, label: string, use: KeystoreUse): Promise<Keys> => {
    const known = open.get(path)
    if (known !== undefined) return known
    const opening = openKeys(host, path, label, use)
    open.set(path, opening)
    return opening
  }
  host.defer(async () => {
    for (const opening of open.values()) await (await opening.catch(() => undefined))?.close()
  })
  const nextKeyFile = (): string =>
    options.nextKeyFile === undefined ? nextKeyPath(folder, description) : resolve(options.nextKeyFile)
  return {
    paths,
    get description() {
      return description
    },
    get nextKeyFile() {
      return nextKeyFile()
    },
    keys: () => openOnce(paths.keystore, 'Passphrase', { keepPrevious: true }),
    nextKeys: (file) =>
      openOnce(file ?? nextKeyFile(), 'Passphrase of the next identity key', {
        file: options.nextPassphraseFile,
        keepPrevious: false,
      }),
    withPassphrase: async (use) => {
      const passphrase = await host.passphrase('Passphrase')
      try {
        return await use(passphrase)
      } finally {
        wipe(passphrase)
      }
    },
    update: async (change) => {
      const next = { ...description, ...change }
      await writeHome(folder, next)
      description = next
    },
  }
}

/** Where the file with the next identity key is, as the home says. */
export function nextKeyPath(folder: string, { identity }: HomeDescription): string {
  return isAbsolute(identity.nextKeyFile) ? identity.nextKeyFile : join(folder, identity.nextKeyFile)
}

/** How one keystore of the home is opened. */
interface KeystoreUse {
  /** Another passphrase file. */
  readonly file?: string | undefined
  /** A promised key must leave nothing when its file is moved away. */
  readonly keepPrevious: boolean
}

async function openKeys(
  host: PublisherHost,
  path: string,
  label: string,
  { file, keepPrevious }: KeystoreUse,
): Promise<Keys> {
  // Loaded here: commands that open no keystore start faster without it.
  const keystore = await import('./keys.ts')
  const passphrase = await host.passphrase(label, { file })
  try {
    return await keystore.Keys.open(path, passphrase, { clock: host.clock, keepPrevious })
  } finally {
    wipe(passphrase)
  }
}
