import {
  base64Decode,
  base64Encode,
  canonicalJson,
  isRecord,
  parseStrictJson,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import { requireBytes, requireMembers, requireText } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import type { NewSecret, SecretEntry } from '../entry.ts'
import { KeystoreError } from '../errors.ts'
import type { Keystore } from '../keystore.ts'
import { MAX_ENTRIES, MAX_KEYSTORE_BYTES } from '../limits.ts'
import type { OverwriteOptions } from '../overwrite.ts'
import { readAge, writeAge } from './age-file.ts'
import type { AgeFileOptions, AgeKeys, AgeReceivers } from './age-file.ts'

export type { AgeKeys, AgeReceivers } from './age-file.ts'

/** Options of {@link exportToAge}. */
export interface AgeExportOptions extends AgeFileOptions {
  /** Which secrets; default: all. */
  readonly aliases?: readonly string[] | undefined
}

/** Options of {@link importFromAge}: without `overwrite`, one alias that is there stops the whole import. */
export interface AgeImportOptions extends OverwriteOptions {}

/** Options of {@link importSecretFromAge}. */
export interface AgeSecretOptions extends AgeImportOptions {
  /** What it is; default `text`. */
  readonly kind?: string | undefined
}

const TYPE = 'keyturn.keystore-export'
const SCHEMA = 1

async function exported(keystore: Keystore, { alias, ...entry }: SecretEntry): Promise<JsonObject> {
  const { kind, publicKey, created, rotated, policy, note, once } = entry
  return {
    alias,
    kind,
    created,
    secret: await keystore.withSecret(alias, (secret) => base64Encode(secret)),
    ...(once ? { once } : {}),
    ...(publicKey === undefined ? {} : { public_key: base64Encode(publicKey) }),
    ...(rotated === undefined ? {} : { rotated }),
    ...(policy === undefined ? {} : { policy }),
    ...(note === undefined ? {} : { note }),
  }
}

/**
 * Writes secrets, with what is known of them, into one file of age: for a move to another machine, a safe, or another
 * tool. `age -d` shows JSON with the secrets in base64.
 *
 * @param receivers - Recipients (`age1…`), or a passphrase.
 * @returns The file.
 * @throws KeystoreError `KEY_ALIAS_UNKNOWN`, `KEY_DAMAGED`, `KEY_AGE_MISSING`; TypeError for receivers of another kind.
 * @example `await writeFile('keys.age', await exportToAge(keystore, { recipients: ['age1…'] }))`
 */
export async function exportToAge(
  keystore: Keystore,
  receivers: AgeReceivers,
  options: AgeExportOptions = {},
): Promise<Uint8Array> {
  requireMembers(keystore, 'keystore', ['list', 'withSecret'])
  const entries = options.aliases?.map((alias) => keystore.get(alias)) ?? keystore.list()
  const secrets: JsonObject[] = []
  for (const entry of entries) secrets.push(await exported(keystore, entry))
  const plaintext = utf8Encode(canonicalJson({ type: TYPE, schema: SCHEMA, secrets }))
  try {
    return await writeAge(plaintext, receivers, options)
  } finally {
    wipe(plaintext)
  }
}

/**
 * Writes the bytes of one secret into a file of age: `age -d` gives them back as they are.
 *
 * @throws As {@link exportToAge}.
 */
export async function exportSecretToAge(
  keystore: Keystore,
  alias: string,
  receivers: AgeReceivers,
  options: AgeFileOptions = {},
): Promise<Uint8Array> {
  requireMembers(keystore, 'keystore', ['list', 'withSecret'])
  requireText(alias, 'alias')
  return await keystore.withSecret(alias, (secret) => writeAge(secret, receivers, options))
}

/**
 * Takes the secrets of a file that {@link exportToAge} wrote: all of them in one write, or none.
 *
 * @param file - Of age, armored or not.
 * @param keys - Identities (`AGE-SECRET-KEY-1…`), or the passphrase.
 * @returns The aliases, in the order of the file.
 * @throws KeystoreError `KEY_AGE`, `KEY_FORMAT` for another content, `KEY_ALIAS_EXISTS`, `KEY_ID_REUSED`, `KEY_SECRET`,
 *   `KEY_AGE_MISSING`.
 */
export async function importFromAge(
  keystore: Keystore,
  file: Uint8Array,
  keys: AgeKeys,
  options: AgeImportOptions = {},
): Promise<string[]> {
  requireMembers(keystore, 'keystore', ['change'])
  requireBytes(file, 'file')
  const plaintext = await readAge(file, keys)
  let secrets: readonly ImportedSecret[] = []
  try {
    secrets = parseExport(plaintext)
    await keystore.change((draft) => {
      for (const { alias, ...secret } of secrets) draft.put(alias, secret, options)
    })
    return secrets.map(({ alias }) => alias)
  } finally {
    wipe(plaintext, ...secrets.map(({ secret }) => secret))
  }
}

/**
 * Keeps the content of any file of age as one secret.
 *
 * @throws KeystoreError `KEY_AGE`, `KEY_ALIAS`, `KEY_ALIAS_EXISTS`, `KEY_ID_REUSED`, `KEY_SECRET`, `KEY_AGE_MISSING`.
 */
export async function importSecretFromAge(
  keystore: Keystore,
  alias: string,
  { file, keys, ...options }: AgeSecretOptions & { readonly file: Uint8Array; readonly keys: AgeKeys },
): Promise<void> {
  requireMembers(keystore, 'keystore', ['change'])
  requireText(alias, 'alias')
  requireBytes(file, 'file')
  const { kind = 'text', overwrite, replace } = options
  const secret = await readAge(file, keys)
  try {
    await keystore.change((draft) => draft.put(alias, { kind, secret }, { overwrite, replace }))
  } finally {
    wipe(secret)
  }
}

type ImportedSecret = NewSecret & { readonly alias: string }

function wrong(what: string, cause?: unknown): KeystoreError {
  return new KeystoreError('KEY_FORMAT', `The age file holds ${what}`, {
    cause,
    hint: 'Take one secret out of any other file with importSecretFromAge()',
  })
}

function parseExport(plaintext: Uint8Array): ImportedSecret[] {
  let document: JsonValue
  try {
    document = parseStrictJson(plaintext, { maxBytes: MAX_KEYSTORE_BYTES })
  } catch (cause) {
    throw wrong('something other than the export of a keystore', cause)
  }
  if (!isRecord(document) || document['type'] !== TYPE) throw wrong('something other than the export of a keystore')
  const { schema, secrets } = document
  if (schema !== SCHEMA) throw wrong(`an export of schema ${String(schema)}, expected ${SCHEMA}`)
  if (!Array.isArray(secrets) || secrets.length > MAX_ENTRIES) throw wrong('a wrong list of secrets')
  return secrets.map(parseSecret)
}

function parseSecret(value: JsonValue): ImportedSecret {
  if (!isRecord(value)) throw wrong('a wrong secret')
  const { alias, kind, secret, once, policy, note, created, rotated, public_key: publicKey } = value
  const isWhole =
    typeof alias === 'string' &&
    typeof kind === 'string' &&
    typeof secret === 'string' &&
    typeof created === 'number' &&
    (rotated === undefined || typeof rotated === 'number') &&
    (once === undefined || once === true) &&
    (note === undefined || typeof note === 'string') &&
    (policy === undefined || isRecord(policy)) &&
    (publicKey === undefined || typeof publicKey === 'string')
  if (!isWhole) throw wrong('a wrong secret')
  try {
    return {
      alias,
      kind,
      created,
      secret: base64Decode(secret),
      once: once === true,
      ...(rotated === undefined ? {} : { rotated }),
      ...(note === undefined ? {} : { note }),
      ...(policy === undefined ? {} : { policy }),
      ...(publicKey === undefined ? {} : { publicKey: base64Decode(publicKey) }),
    }
  } catch (cause) {
    throw wrong('a secret that is not base64', cause)
  }
}
