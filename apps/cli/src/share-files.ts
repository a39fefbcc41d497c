import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { systemRandom, utf8Decode, wipe } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { combineShares, describeShare, sharedPassphrase, splitSecret } from '@keyturn/vault-kdf/shares'
import type { Context } from './command.ts'
import { CliError } from './errors.ts'
import { wholeNumber } from './flags/values.ts'

/** Flags of commands that make shares. */
export interface MakeShareFlags {
  readonly threshold?: string | undefined
  readonly count?: string | undefined
}

/** Shares in files, and what they open together. */
export interface MadeShares {
  readonly folder: string
  readonly set: string
  readonly threshold: number
  readonly files: readonly string[]
  /** The passphrase that they give; the caller wipes it. */
  readonly passphrase: Uint8Array
  /** From now on the shares stay, whatever happens: something is about to need them. */
  keep(): void
}

const MOST = 255

/**
 * Checks the numbers, and that the folder is new, before anything is asked. @throws {@link CliError} `CLI_USAGE`,
 * `CLI_EXISTS`.
 */
export async function planShares(
  folder: string,
  flags: MakeShareFlags,
): Promise<{ readonly folder: string; readonly threshold: number; readonly count: number }> {
  const count = wholeNumber(flags.count ?? '', '--count', 2, MOST)
  const threshold = wholeNumber(flags.threshold ?? '', '--threshold', 2, count)
  const path = resolve(folder)
  if (await pathExists(path)) throw new CliError('CLI_EXISTS', `"${path}" is already there`)
  return { folder: path, threshold, count }
}

/**
 * Makes a random passphrase that exists only as shares, one file for each holder, and reads them back. Until `use` has
 * succeeded nothing needs them: when it fails before it has called `keep` the folder is removed.
 */
export async function makeShares<T>(
  context: Context,
  plan: { readonly folder: string; readonly threshold: number; readonly count: number },
  use: (made: MadeShares) => Promise<T>,
): Promise<T> {
  const secret = systemRandom(32)
  let passphrase: Uint8Array | undefined
  let kept = false
  const keep = (): void => void (kept = true)
  await mkdir(plan.folder, { mode: 0o700 })
  try {
    const shares = await splitSecret(secret, { threshold: plan.threshold, shares: plan.count })
    const files = shares.map((_, index) => join(plan.folder, `share-${index + 1}-of-${plan.count}.txt`))
    for (const [index, file] of files.entries())
      await writeFile(file, `${shares[index] ?? ''}\n`, { mode: 0o600, flag: 'wx' })
    // Read back both ways around: what the holders get must open what is made now.
    passphrase = await readShares(context, files.slice(0, plan.threshold))
    wipe(await readShares(context, files.slice(-plan.threshold)))
    const set = describeShare(shares[0] ?? '').setId
    return await use({ folder: plan.folder, set, threshold: plan.threshold, files, passphrase, keep })
  } catch (error) {
    if (!kept) await rm(plan.folder, { recursive: true, force: true })
    throw error
  } finally {
    wipe(secret, passphrase)
  }
}

/**
 * The passphrase that shares in files give; each file has one share and nothing else. The caller wipes it.
 *
 * @throws VaultError `VK_SHARE`, `VK_SHARE_SET`, `VK_SHARES_MISSING`, `VK_SHARE_SECRET`.
 */
export async function readShares({ ask }: Context, files: readonly string[]): Promise<Uint8Array> {
  const texts: string[] = []
  for (const file of files) {
    const bytes = await ask.passphrase('Share', { file })
    texts.push(utf8Decode(bytes))
    wipe(bytes)
  }
  const { secret } = await combineShares(texts)
  try {
    return sharedPassphrase(secret)
  } finally {
    wipe(secret)
  }
}
