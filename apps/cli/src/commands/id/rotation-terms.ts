import { resolve } from 'node:path'
import type { Command } from 'commander'
import { sha256Seal } from '@keyturn/kel/owner'
import type { Seal } from '@keyturn/kel'
import { readReasons } from '@keyturn/publisher/identity'
import type { Identity } from '@keyturn/publisher/identity'
import { standingSeals } from '@keyturn/publisher/rotation'
import type { KeyRotationState, RotationRecord, RotationTerms } from '@keyturn/publisher/rotation'
import { CliError } from '../../errors.ts'
import { collect } from '../../flags/values.ts'
import { readCommit } from '../git-notes.ts'

/** Flags that every command that rotates an identity understands. */
export interface RotateOptions {
  readonly alias?: string | undefined
  readonly currentKeyAlias?: string | undefined
  readonly nextKeyAlias?: string | undefined
  readonly nextKeyFile?: readonly string[] | undefined
  readonly nextPassphraseFile?: string | undefined
  readonly addWitness?: readonly string[] | undefined
  readonly removeWitness?: readonly string[] | undefined
  readonly witnessesRequired?: string | undefined
  readonly reason?: string | undefined
  /** Repositories whose tip the rotation seals. */
  readonly sealTip?: readonly string[] | undefined
  readonly abandon?: boolean | undefined
  readonly newPassphrase?: boolean | undefined
  readonly newPassphraseFile?: string | undefined
}

/** Adds the flags that say where promised keys are, and why they are wanted now. */
export function withNextKeys(command: Command): Command {
  return command
    .option('--next-key-file <file>', 'file with a promised key, repeatable', collect)
    .option('--next-passphrase-file <file>', 'another passphrase for the files with next keys')
    .option('--new-passphrase', 'ask for a new passphrase, twice, and put the keys under it')
    .option('--new-passphrase-file <file>', 'the same, read from a file')
    .option('--reason <text>', 'why; the text is kept here, its digest is sealed in the log')
}

/** Files with next keys that the flags name. */
export function nextKeyFiles(options: RotateOptions): string[] | undefined {
  return options.nextKeyFile?.map((file) => resolve(file))
}

/** What a rotation says, from its flags. */
export async function rotationTerms(
  identity: Identity,
  options: RotateOptions,
  extra: readonly Seal[] = [],
): Promise<RotationTerms> {
  const required = options.witnessesRequired === undefined ? undefined : Number(options.witnessesRequired)
  if (required !== undefined && (!Number.isInteger(required) || required < 0))
    throw new CliError('CLI_USAGE', '--witnesses-required expects a whole number')
  const tips = await Promise.all(
    (options.sealTip ?? []).map(async (repo) => sha256Seal((await readCommit(repo, 'HEAD')).digest)),
  )
  return {
    seals: [...(await standingSeals(identity)), ...tips, ...extra],
    addWitnesses: options.addWitness,
    removeWitnesses: options.removeWitness,
    witnessThreshold: required,
  }
}

/** Whether the flags say what the rotation is to be; without any, whatever was interrupted is meant. */
export function asksForTerms(options: RotateOptions): boolean {
  const { nextKeyAlias, addWitness, removeWitness, witnessesRequired, reason, sealTip } = options
  return [nextKeyAlias, addWitness, removeWitness, witnessesRequired, reason, sealTip].some(
    (flag) => flag !== undefined,
  )
}

/** Whether an interrupted rotation says what is wanted: nothing that was asked for may be dropped in silence. */
export async function rotationCovers(
  identity: Identity,
  { state }: RotationRecord<KeyRotationState>,
  options: RotateOptions,
): Promise<boolean> {
  if (state.made === undefined) return true
  const { seals, addWitnesses, removeWitnesses, witnessThreshold } = state.made.terms
  const wanted = await rotationTerms(identity, options)
  const reasons = await readReasons(identity)
  // After the key is staged its alias cannot change any more; before, the one that is asked for now is used.
  const alias = state.staged?.alias
  return (
    hasAll(addWitnesses, wanted.addWitnesses) &&
    hasAll(removeWitnesses, wanted.removeWitnesses) &&
    (wanted.witnessThreshold === undefined || wanted.witnessThreshold === witnessThreshold) &&
    (options.nextKeyAlias === undefined || alias === undefined || options.nextKeyAlias === alias) &&
    (options.reason === undefined ||
      digestsOf(seals).some((digest) => reasons.get(digest)?.reason === options.reason)) &&
    hasAll(digestsOf(seals), digestsOf(wanted.seals))
  )
}

function hasAll(all: readonly string[] | undefined, some: readonly string[] | undefined): boolean {
  return (some ?? []).every((word) => all?.includes(word) === true)
}

function digestsOf(seals: readonly Seal[]): string[] {
  return seals.flatMap((seal) => ('d' in seal && typeof seal.d === 'string' ? [seal.d] : []))
}
