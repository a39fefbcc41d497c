import { mkdir, readFile, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import {
  concatBytes,
  equalBytes,
  hexDecode,
  hexEncode,
  hkdfSha256,
  hmacSha256,
  isRecord,
  sha256,
  utf8Decode,
  utf8Encode,
} from '@keyturn/primitives'
import type { FormatVersion } from '@keyturn/m2pack-format'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { HomeSession } from '../home-session.ts'
import type { ArchiveMac } from './archive-mac.ts'
import type { Looks } from './looks.ts'

/**
 * Times of the coarsest file system that is in use (FAT) have two seconds. A file that was written so shortly before it
 * was looked at can be written once more with the same times: its archive is not remembered.
 */
const RACY_NS = 2_000_000_000n
const LABEL = utf8Encode('keyturn pack cache v2')
const KEY_BYTES = 32
const MAC_HEX = 64
const NAME_HEX = 32
const NS_PER_MS = 1_000_000n
const MAX_BYTES = 16 * 1024 * 1024

/** An archive that was made of files that looked as they do. */
export interface KnownArchive extends ArchiveMac {
  /** Digest of the looks. */
  readonly looks: string
  /** Under which keys it was made, in words that are compared only. */
  readonly made: string
  /** Of its format. */
  readonly version: FormatVersion
  readonly archiveBytes: number
}

/**
 * What the home remembers of one source folder: how the files of an archive looked when it was made, and a MAC of the
 * archive. Only a hint for speed, which can only say "as it was before": what is packed by it are bytes of the release
 * before.
 *
 * It is under a MAC of a key that is in the keystore, so that one who can write to the home, and cannot release, can
 * neither keep a change from being packed nor have a damaged archive taken over.
 */
export class StatCache {
  readonly #path: string
  readonly #root: string
  readonly #key: Uint8Array
  readonly #before: ReadonlyMap<string, KnownArchive>
  readonly #startedNs: bigint
  readonly #archives = new Map<string, KnownArchive>()
  #newestNs = 0n

  private constructor(place: CachePlace, before: ReadonlyMap<string, KnownArchive>, startedNs: bigint) {
    this.#path = place.path
    this.#root = place.root
    this.#key = place.key
    this.#before = before
    this.#startedNs = startedNs
  }

  /**
   * Opens what a home remembers of a source folder. Nothing, when that is missing, damaged, or of another home.
   *
   * @param home - Open home.
   * @param folder - The source folder.
   * @param nowMs - The time before the first file is looked at.
   */
  static async open(home: HomeSession, folder: string, nowMs: number): Promise<StatCache> {
    const root = await realpath(folder)
    const path = join(home.paths.cache, `pack-${hexEncode(sha256(utf8Encode(root))).slice(0, NAME_HEX)}`)
    const keys = await home.keys()
    const key = await keys.lend(home.description.aliases.archiveSigning, (seed) =>
      hkdfSha256(seed, new Uint8Array(0), LABEL, KEY_BYTES),
    )
    const place = { path, root, key }
    return new StatCache(place, await remembered(place), BigInt(nowMs) * NS_PER_MS)
  }

  /** The key of the MACs of archives. */
  get key(): Uint8Array {
    return this.#key
  }

  /**
   * The archive that was made of these files; undefined when one of them has to be read.
   *
   * @param path - Of the archive in the release tree.
   */
  find(path: string, looks: Looks, made: string): KnownArchive | undefined {
    const known = this.#before.get(path)
    return known?.looks === looks.digest && known.made === made ? known : undefined
  }

  /** Keeps what was found: the archive is what it was. */
  keep(path: string, known: KnownArchive): void {
    this.#archives.set(path, known)
  }

  /** Remembers an archive that was made, unless a file could have changed since without looking different. */
  note(path: string, looks: Looks, known: Omit<KnownArchive, 'looks'>): void {
    if (looks.ctimeNs > this.#newestNs) this.#newestNs = looks.ctimeNs
    const safe = this.#startedNs - RACY_NS
    if (looks.mtimeNs < safe && looks.ctimeNs < safe) this.#archives.set(path, { ...known, looks: looks.digest })
  }

  /**
   * Writes what was noted. A home that cannot be written to remembers nothing: only time is lost. Nothing either when
   * a file was changed later than now: then the clocks of file system and machine differ, and no time says anything.
   *
   * @param nowMs - The time after the last file was looked at.
   */
  async save(nowMs: number): Promise<void> {
    const isAhead = this.#newestNs > BigInt(nowMs + 1) * NS_PER_MS
    const archives = isAhead ? {} : Object.fromEntries(this.#archives)
    const bytes = utf8Encode(JSON.stringify({ root: this.#root, archives }))
    const mac = utf8Encode(hexEncode(hmacSha256(this.#key, bytes)))
    try {
      await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 })
      await writeFileAtomic(this.#path, concatBytes(mac, bytes), { mode: 0o600 })
    } catch {
      // A hint that is not there.
    }
  }
}

interface CachePlace {
  readonly path: string
  readonly root: string
  readonly key: Uint8Array
}

async function remembered({ path, root, key }: CachePlace): Promise<ReadonlyMap<string, KnownArchive>> {
  const none = new Map<string, KnownArchive>()
  const bytes = await readFile(path).catch(() => undefined)
  if (bytes === undefined || bytes.length > MAX_BYTES) return none
  try {
    const text = bytes.subarray(MAC_HEX)
    // The MAC first: what comes after it was written by this home.
    const mac = hexDecode(utf8Decode(bytes.subarray(0, MAC_HEX)))
    if (!equalBytes(mac, hmacSha256(key, text))) return none
    const value: unknown = JSON.parse(utf8Decode(text))
    if (!isRecord(value) || value['root'] !== root || !isRecord(value['archives'])) return none
    return new Map(Object.entries(value['archives'] as Record<string, KnownArchive>))
  } catch {
    return none // damaged
  }
}
