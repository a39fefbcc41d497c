import { utf8Encode } from '@keyturn/primitives'
import { checkManifestContent } from './check-manifest.ts'
import { ManifestError } from './errors.ts'
import { ObjectList, parseDocument } from './fields.ts'
import type { DocumentKind, Fields } from './fields.ts'
import { limits } from './limits.ts'
import type {
  Component,
  ContentKey,
  ContentKeyStatus,
  IndexReference,
  LauncherFile,
  ManifestExtension,
  ManifestFile,
  ManifestTotals,
  ReleaseManifest,
  Requirements,
} from './model.ts'

/** Format of a manifest that names none. */
export const DEFAULT_FORMAT = 'legacy-json-blob'

const KIND: DocumentKind = { name: 'manifest', schemaCode: 'MAN_SCHEMA', jsonCode: 'MAN_JSON' }
const WORD = /^[a-z0-9][a-z0-9_-]{0,31}$/
// From schema 2 on, a version is part of addresses and of file names.
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/
const STATUSES: readonly string[] = ['active', 'retired', 'revoked']
// created_at of the original may carry fractions of a second.
const CREATED_AT = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?Z$/
const MAX_KEY_ID = 2 ** 32 - 1

/** Leaves out what is undefined, so that absent and undefined stay one thing. */
function present<Members extends object>(
  members: Members,
): { [Key in keyof Members]: Exclude<Members[Key], undefined> } {
  for (const key of Object.keys(members) as (keyof Members)[]) if (members[key] === undefined) delete members[key]
  return members as { [Key in keyof Members]: Exclude<Members[Key], undefined> }
}

function readWord(fields: Fields, name: string): string | undefined {
  const word = fields.optionalText(name, 32)
  if (word !== undefined && !WORD.test(word)) fields.fail(name, 'is not a word of a-z, 0-9, "-" and "_"')
  return word
}

function readIndex(fields: Fields): IndexReference {
  return {
    sha256: fields.digest('sha256'),
    size: fields.integer('size', 1, limits.indexBytes),
    chunks: fields.integer('chunks', 0, limits.indexBytes),
    params: fields.integer('params', 0, 255),
  }
}

function readFile(fields: Fields): ManifestFile {
  const file: { -readonly [Key in keyof ManifestFile]: ManifestFile[Key] } = {
    path: fields.text('path', limits.pathBytes),
    sha256: fields.digest('sha256'),
    size: fields.integer('size', 0, limits.blobBytes),
    platform: readWord(fields, 'platform') ?? 'all',
    required: fields.flag('required', true),
    executable: fields.flag('executable', false),
  }
  if (fields.has('key_id')) file.keyId = fields.integer('key_id', 1, MAX_KEY_ID)
  if (fields.has('index')) file.index = readIndex(fields.object('index'))
  if (fields.has('group')) file.group = fields.name('group')
  return file
}

function readLauncher(fields: Fields): LauncherFile {
  return {
    path: fields.text('path', limits.pathBytes),
    sha256: fields.digest('sha256'),
    size: fields.integer('size', 0, limits.blobBytes),
    platform: readWord(fields, 'platform') ?? 'all',
  }
}

function readContentKey(fields: Fields): ContentKey {
  const status = fields.text('status', 16)
  if (!STATUSES.includes(status)) fields.fail('status', 'is none of active, retired and revoked')
  return {
    keyId: fields.integer('key_id', 1, MAX_KEY_ID),
    verifierPub: fields.digest('verifier_pub'),
    commitment: fields.digest('commitment'),
    status: status as ContentKeyStatus,
  }
}

function readRequirements(fields: Fields): Requirements {
  const words = (name: string): string[] | undefined =>
    fields.has(name) ? fields.texts(name, { min: 1, max: 32 }, (text) => WORD.test(text), 'is not a word') : undefined
  return present({
    freeBytes: fields.optionalInteger('free_bytes', 0, Number.MAX_SAFE_INTEGER),
    os: words('os'),
    arch: words('arch'),
  }) as Requirements
}

function readComponent(fields: Fields): Component {
  return { name: fields.name('name'), title: fields.text('title', 256), default: fields.flag('default', true) }
}

/** One path for each platform. Whether the files hold it is for `checkManifestContent`. */
function readProgram(fields: Fields): Readonly<Record<string, string>> {
  const names = fields.names()
  if (names.length === 0) fields.fail('', 'names no program')
  for (const name of names) if (!WORD.test(name)) fields.fail(name, 'is not a platform')
  return Object.fromEntries(names.map((name) => [name, fields.text(name, limits.pathBytes)]))
}

/** Whatever a publisher may state; which of them a launcher knows is decided later. */
const MAX_ARCHIVE_FORMAT = 65_535

function readTotals(fields: Fields): ManifestTotals {
  return {
    files: fields.integer('files', 0, limits.files),
    bytes: fields.integer('bytes', 0, Number.MAX_SAFE_INTEGER),
    downloadBytes: fields.integer('download_bytes', 0, Number.MAX_SAFE_INTEGER),
  }
}

function readExtension(fields: Fields): ManifestExtension {
  const requires = fields.optionalObject('requires')
  const program = fields.optionalObject('program')
  const totals = fields.optionalObject('totals')
  const anyPath = (text: string): boolean => text !== '' && text.length <= limits.pathBytes
  return present({
    product: fields.optionalName('product'),
    channel: fields.optionalName('channel'),
    epoch: fields.optionalInteger('epoch', 0, Number.MAX_SAFE_INTEGER),
    sequence: fields.optionalInteger('sequence', 1, Number.MAX_SAFE_INTEGER),
    issuedAt: fields.optionalTime('issued_at'),
    expiresAt: fields.optionalTime('expires_at'),
    previousSha256: fields.optionalDigest('previous_sha256'),
    rolesVersion: fields.optionalInteger('roles_version', 1, Number.MAX_SAFE_INTEGER),
    critical: fields.texts('critical', {}, (text) => text !== '' && text.length <= 64, 'is not a field name'),
    contentKeys: fields.has('content_keys') ? fields.objects('content_keys', {}, readContentKey) : [],
    archiveFormat: fields.optionalInteger('archive_format', 2, MAX_ARCHIVE_FORMAT),
    delete: fields.texts('delete', { max: limits.pathListEntries }, anyPath, 'is not a path'),
    keep: fields.texts('keep', { max: limits.pathListEntries }, anyPath, 'is not a glob'),
    program: program && readProgram(program),
    components: fields.has('components') ? fields.objects('components', { max: limits.components }, readComponent) : [],
    requires: requires && readRequirements(requires),
    rollbackOf: fields.optionalText('rollback_of', 128),
    totals: totals && readTotals(totals),
    trustRoot: fields.optionalText('trust_root', 512),
  }) as ManifestExtension
}

const NO_EXTENSION: ManifestExtension = { critical: [], contentKeys: [], delete: [], keep: [], components: [] }

function readNotes(fields: Fields): string | undefined {
  const notes = fields.has('notes') ? fields.text('notes', limits.notesBytes) : undefined
  if (notes !== undefined && utf8Encode(notes).length > limits.notesBytes)
    fields.fail('notes', `is over ${limits.notesBytes} bytes`)
  return notes
}

function readVersion(fields: Fields, schema: number): string {
  const version = fields.text('version', 128)
  if (schema === 2 && !VERSION.test(version))
    fields.fail('version', 'is not a version of A-Z, a-z, 0-9, ".", "_", "+" and "-"')
  return version
}

/** Only an absent format is the original's: an empty one, or one of another type, is as unknown as a foreign name. */
function readFormat(fields: Fields): string {
  if (!fields.has('format')) return DEFAULT_FORMAT
  try {
    return fields.text('format', 64)
  } catch (cause) {
    throw new ManifestError('MAN_UNKNOWN_FORMAT', 'Cannot use manifest: its format is not a name', { cause })
  }
}

function readShape(bytes: Uint8Array, read: ((item: Fields) => ManifestFile) | undefined): ReleaseManifest {
  const files = new ObjectList('files', limits.files, KIND, read)
  const fields = parseDocument(bytes, KIND, limits.manifestBytes, files)
  const schema = fields.optionalInteger('schema', 1, 2) ?? 1
  const createdAt = fields.text('created_at', 40)
  if (!CREATED_AT.test(createdAt)) fields.fail('created_at', 'is not an ISO 8601 time in UTC')
  const launcher = schema === 1 || fields.has('launcher') ? fields.object('launcher') : undefined
  return present({
    format: readFormat(fields),
    version: readVersion(fields, schema),
    createdAt,
    previous: fields.optionalText('previous', 128),
    notes: readNotes(fields),
    minLauncherVersion: fields.optionalText('min_launcher_version', 64),
    launcher: launcher && readLauncher(launcher),
    files: files.of(fields),
    schema: schema as 1 | 2,
    ...(schema === 2 ? readExtension(fields) : NO_EXTENSION),
  }) as ReleaseManifest
}

/**
 * Reads the shape of a manifest and nothing more: limits, strict JSON and types, no rule between fields.
 * {@link parseManifest} is the whole check; `verifyRelease` does the rest in its own order.
 *
 * @throws {@link ManifestError} `MAN_LIMIT`, `MAN_JSON`, `MAN_SCHEMA`, `MAN_UNKNOWN_FORMAT`.
 */
export function readManifestShape(bytes: Uint8Array): ReleaseManifest {
  return readShape(bytes, readFile)
}

/**
 * Reads all of a manifest but its files, which it passes over: what a signed manifest proves about floors and keys,
 * without the memory of a release.
 *
 * @throws {@link ManifestError} as {@link readManifestShape}.
 */
export function readManifestHeader(bytes: Uint8Array): Omit<ReleaseManifest, 'files'> {
  return readShape(bytes, undefined)
}

/**
 * Reads a manifest of schema 1 or 2: limits, strict JSON, types, paths, sums and what else its fields owe each other.
 * Shape and sense only: whether it may be trusted is for `verifyRelease`.
 *
 * @param bytes - The literal document.
 * @throws {@link ManifestError} `MAN_LIMIT`, `MAN_JSON`, `MAN_SCHEMA`, `MAN_UNKNOWN_FORMAT`, `MAN_PATH`,
 *   `MAN_PATH_COLLISION`.
 */
export function parseManifest(bytes: Uint8Array): ReleaseManifest {
  const manifest = readManifestShape(bytes)
  checkManifestContent(manifest)
  return manifest
}
