import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Metadata, MetadataKind, Signature } from '@tufjs/models'
import { ed25519Sign, hexEncode, sha256, utf8Encode } from '@keyturn/primitives'
import { BaseFetcher, Updater } from 'tuf-js'
import { DownloadHTTPError } from 'tuf-js/dist/error.js'
import { keyId, seedOf } from './publisher.ts'

/** Keys and threshold of a TUF role. */
export type KeySet = readonly [readonly string[], number]

const EXPIRES = '2099-01-01T00:00:00Z'
const SPEC = '1.0.31'
const BASE = 'http://tuf.example'

type Members = Record<string, unknown>
type SignedKind = MetadataKind.Root | MetadataKind.Timestamp | MetadataKind.Snapshot | MetadataKind.Targets

/** Signs a document the way tuf-js itself would. */
function signed(kind: SignedKind, members: Members, signers: readonly string[]): Uint8Array {
  const document = { signed: { _type: kind, spec_version: SPEC, expires: EXPIRES, ...members }, signatures: [] }
  const metadata = Metadata.fromJSON(kind as MetadataKind.Root, document as never)
  for (const name of signers) {
    metadata.sign(
      (data) => new Signature({ keyID: keyId(name), sig: hexEncode(ed25519Sign(seedOf(name), data)) }),
      true,
    )
  }
  return utf8Encode(JSON.stringify(metadata.toJSON()))
}

/** Who may sign what in a repository. */
export interface TufRoles {
  readonly root: KeySet
  readonly targets: KeySet
  readonly timestamp: KeySet
}

export function rootDocument(version: number, roles: TufRoles, signers: readonly string[]): Uint8Array {
  const names = [...new Set([roles.root, roles.targets, roles.timestamp].flatMap(([keys]) => keys))]
  const key = (name: string): Members => ({ keytype: 'ed25519', scheme: 'ed25519', keyval: { public: keyId(name) } })
  const role = ([keys, threshold]: KeySet): Members => ({ keyids: keys.map(keyId), threshold })
  return signed(
    MetadataKind.Root,
    {
      version,
      consistent_snapshot: true,
      keys: Object.fromEntries(names.map((name) => [keyId(name), key(name)])),
      roles: {
        root: role(roles.root),
        targets: role(roles.targets),
        timestamp: role(roles.timestamp),
        snapshot: role(roles.timestamp),
      },
    },
    signers,
  )
}

/** The files of a repository whose only target is a manifest. */
export function repository(
  version: number,
  roots: readonly Uint8Array[],
  manifest: Uint8Array,
  signers: { readonly targets: readonly string[]; readonly timestamp: readonly string[] },
): Map<string, Uint8Array> {
  const target = { length: manifest.length, hashes: { sha256: hexEncode(sha256(manifest)) } }
  const targets = signed(MetadataKind.Targets, { version, targets: { 'manifest.json': target } }, signers.targets)
  const snapshot = signed(MetadataKind.Snapshot, { version, meta: { 'targets.json': { version } } }, signers.timestamp)
  const timestamp = signed(
    MetadataKind.Timestamp,
    { version, meta: { 'snapshot.json': { version } } },
    signers.timestamp,
  )
  return new Map([
    ...roots.map((bytes, index): [string, Uint8Array] => [`${index + 1}.root.json`, bytes]),
    [`${version}.targets.json`, targets],
    [`${version}.snapshot.json`, snapshot],
    ['timestamp.json', timestamp],
  ])
}

class FolderFetcher extends BaseFetcher {
  readonly #files: ReadonlyMap<string, Uint8Array>

  constructor(files: ReadonlyMap<string, Uint8Array>) {
    super()
    this.#files = files
  }

  override async fetch(url: string): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const bytes = this.#files.get(url.slice(BASE.length + 1))
    if (bytes === undefined) throw new DownloadHTTPError(`404 ${url}`, 404)
    return new Blob([bytes.slice()]).stream()
  }
}

/** A tuf-js client with its own folder of trusted metadata. */
export class TufClient {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async create(root: Uint8Array): Promise<TufClient> {
    const folder = await mkdtemp(join(tmpdir(), 'keyturn-tuf-'))
    await writeFile(join(folder, 'root.json'), root)
    return new TufClient(folder)
  }

  /** Whether the client accepts the repository: all of it, down to the manifest as its target. */
  async accepts(files: ReadonlyMap<string, Uint8Array>, rootVersion: number): Promise<boolean> {
    const updater = new Updater({
      metadataDir: this.#folder,
      metadataBaseUrl: BASE,
      targetDir: this.#folder,
      targetBaseUrl: BASE,
      fetcher: new FolderFetcher(files),
    })
    try {
      await updater.refresh()
      return (await updater.getTargetInfo('manifest.json')) !== undefined && files.has(`${rootVersion}.root.json`)
    } catch {
      return false
    }
  }

  async close(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true })
  }
}
