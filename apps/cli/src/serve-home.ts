import { signHead } from '@keyturn/manifest/publish'
import { hexEncode } from '@keyturn/primitives'
import { keyAlias, openHome, readHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { refuseFrozen } from '@keyturn/publisher/identity'
import { openDue } from '@keyturn/publisher/offers'
import { rolesInForce } from '@keyturn/publisher/records'
import { openClient, trustPin } from '@keyturn/publisher/release'
import type { ServerOptions } from '@keyturn/publisher/release'
import { openToRelease } from '@keyturn/publisher/ship'
import { runCleanUps } from './clean-ups.ts'
import type { CleanUp } from './clean-ups.ts'
import type { Context } from './command.ts'

/**
 * Opens the home for one piece of work of a program that runs for months, and closes it again: between two signatures
 * no key is in memory, no lock is held, and what another command rotated meanwhile counts.
 */
async function withHome<T>(
  context: Context,
  write: boolean,
  use: (home: HomeSession) => Promise<T>,
  open: (host: Context, options: { readonly write: boolean }) => Promise<HomeSession> = openHome,
): Promise<T> {
  const cleanUps: CleanUp[] = []
  const host = { ...context, defer: (cleanUp: CleanUp) => void cleanUps.push(cleanUp) }
  try {
    return await use(await open(host, { write }))
  } finally {
    await runCleanUps(cleanUps, (text) => context.warn(text))
  }
}

/**
 * The passphrase of the server's vault: a secret of its own in the keystore, made when first needed. So it is part of
 * every backup, and another passphrase of the home does not lock the vault.
 */
export async function vaultSecret(context: Context): Promise<string> {
  const alias = keyAlias.serverVault(1)
  const lend = async (home: HomeSession): Promise<string | undefined> => {
    const keys = await home.keys()
    return keys.has(alias) ? await keys.lend(alias, (secret) => hexEncode(secret)) : undefined
  }
  const known = await withHome(context, false, lend)
  if (known !== undefined) return known
  return await withHome(context, true, async (home) => {
    const keys = await home.keys()
    await keys.make(alias, 'server-vault')
    return await keys.lend(alias, (secret) => hexEncode(secret))
  })
}

/** Why the head key of the home does not sign heads alone, in words; undefined when it does. */
export async function canSignHeads(context: Context): Promise<string | undefined> {
  return await withHome(context, false, async (home) => {
    const { description, paths } = home
    const keys = await home.keys()
    const alias = description.aliases.head
    if (!keys.has(alias)) return `this home does not hold the head key ${alias}`
    const { document } = await rolesInForce(paths, description.identity.prefix)
    const { keys: allowed, threshold } = document.roles.head
    if (threshold > 1) return `heads need ${threshold} signatures`
    return allowed.includes(hexEncode(await keys.publicKey(alias)))
      ? undefined
      : `the role document in force does not name ${alias}`
  })
}

/** The pin that the head signer of this home verifies everything from. */
export async function headPin(context: Context): Promise<string> {
  return await withHome(context, false, trustPin)
}

/**
 * Signs a head with the head key of the home that is in force now.
 *
 * @param payload - Literal bytes, verified by the caller.
 * @returns `head.json`.
 * @throws `KEL_FROZEN` while `keyturn emergency freeze` lasts.
 */
export async function signHeadOfHome(context: Context, payload: Uint8Array): Promise<Uint8Array> {
  await refuseFrozen(context.homeFolder, context.clock)
  return await withHome(context, false, async (home) => {
    const keys = await home.keys()
    return await signHead(payload, [await keys.documentSigner(home.description.aliases.head)])
  })
}

/**
 * Opens scheduled releases of this home whose hour has come: gives the server their key, and offers them.
 *
 * @param server - The server that runs here.
 * @returns Versions that are open now.
 */
export async function openDueSchedules(context: Context, server: ServerOptions): Promise<string[]> {
  const { sealedKeys = [] } = await readHome(context.homeFolder)
  const due = sealedKeys.filter(({ at }) => at !== undefined && Date.parse(at) <= context.clock())
  const opened: string[] = []
  for (const { channel, version } of due) {
    const open = async (home: HomeSession): Promise<boolean> => {
      const client = await openClient(server, home)
      return (await openDue(home, channel, { client, nowMs: context.clock(), signal: context.signal })) === 'switch'
    }
    if (await withHome(context, true, open, openToRelease)) opened.push(version)
  }
  return opened
}
