import { lstatSync } from 'node:fs'
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
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { HomeSession } from '../home-session.ts'

/** What tells one state of a file from another without reading it, as git's index does. */
export interface FileFacts {
  readonly size: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  /** The file system. */
  readonly dev: bigint
  readonly ino: bigint
}

/**
 * Times of the coarsest file system that is in use (FAT) have two seconds. A file that was written so shortly before it
 * was looked at can be written once more with the same times: it is not remembered.
 */
const RACY_NS = 2_000_000_000n
const LABEL = utf8Encode('keyturn pack cache v1')
const KEY_BYTES = 32
const SHA256_HEX = 64
const NAME_HEX = 32
const NS_PER_MS = 1_000_000n
const MAX_BYTES = 256 * 1024 * 1024

/** Size, times, file system and inode of a plain file; undefined for anything else. */
export function factsOf(path: string): FileFacts | undefined {
  const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false })
  if (stats?.isFile() !== true) return undefined
  const { size, mtimeNs, ctimeNs, dev, ino } = stats
  return { size, mtimeNs, ctimeNs, dev, ino }
}

const FACTS = ['size', 'mtimeNs', 'ctimeNs', 'dev', 'ino'] as const

/** Whether nothing happened to a file between two looks at it. */
export function sameFacts(one: FileFacts | undefined, other: FileFacts | undefined): boolean {
  return one !== undefined && other !== undefined && FACTS.every((name) => one[name] === other[name])
}

/** What the home remembers: how files looked and their SHA-256, and the SHA-256 of archives that were made of them. */
interface Remembered {
  readonly files: ReadonlyMap<string, string>
  readonly archives: ReadonlyMap<string, string>
}

/**
 * What the home remembers of the files of one source folder: which SHA-256 a file had when it looked as it looks now.
 * Only a hint for speed, which can only say "as it was before": what is packed by it are bytes of the release before.
 *
 * It is under a MAC of a key that is in the keystore, so that one who can write to the home, and cannot release, can
 * neither keep a change from being packed nor have a damaged archive taken over.
 */
export class StatCache {
  readonly #path: string
  readonly #root: string
  readonly #key: Uint8Array
  readonly #before: Remembered
  readonly #startedNs: bigint
  readonly #files = new Map<string, string>()
  readonly #archives = new Map<string, string>()
  #newestNs = 0n

  private constructor(place: CachePlace, before: Remembered, startedNs: bigint) {
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

  /** The SHA-256 of a file that looks as it did, hex; undefined when it has to be read. */
  find(path: string, facts: FileFacts): string | undefined {
    const known = this.#before.files.get(path)
    if (known?.startsWith(`${textOf(facts)} `) !== true) return undefined
    this.#files.set(path, known)
    return known.slice(-SHA256_HEX)
  }

  /** Remembers a file that was read, unless it could have changed since without looking different. */
  note(path: string, facts: FileFacts, digest: string): void {
    const safe = this.#startedNs - RACY_NS
    if (facts.ctimeNs > this.#newestNs) this.#newestNs = facts.ctimeNs
    if (facts.mtimeNs < safe && facts.ctimeNs < safe) this.#files.set(path, `${textOf(facts)} ${digest}`)
  }

  /** The SHA-256 that the archive at a place in the release tree had when it was made, hex. */
  findArchive(path: string): string | undefined {
    return this.#before.archives.get(path)
  }

  /** Remembers an archive that was made. */
  noteArchive(path: string, digest: string): void {
    this.#archives.set(path, digest)
  }

  /**
   * Writes what was noted. A home that cannot be written to remembers nothing: only time is lost. Nothing either when
   * a file was changed later than now: then the clocks of file system and machine differ, and no time says anything.
   *
   * @param nowMs - The time after the last file was looked at.
   */
  async save(nowMs: number): Promise<void> {
    const isAhead = this.#newestNs > BigInt(nowMs + 1) * NS_PER_MS
    const [files, archives] = isAhead ? [{}, {}] : [Object.fromEntries(this.#files), Object.fromEntries(this.#archives)]
    const bytes = utf8Encode(JSON.stringify({ root: this.#root, files, archives }))
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

function textOf(facts: FileFacts): string {
  return FACTS.map((name) => facts[name]).join(' ')
}

async function remembered({ path, root, key }: CachePlace): Promise<Remembered> {
  const none: Remembered = { files: new Map(), archives: new Map() }
  const bytes = await readFile(path).catch(() => undefined)
  if (bytes === undefined || bytes.length > MAX_BYTES) return none
  try {
    const text = bytes.subarray(SHA256_HEX)
    // The MAC first: what comes after it was written by this home.
    const mac = hexDecode(utf8Decode(bytes.subarray(0, SHA256_HEX)))
    if (!equalBytes(mac, hmacSha256(key, text))) return none
    const value: unknown = JSON.parse(utf8Decode(text))
    if (!isRecord(value) || value['root'] !== root) return none
    return { files: texts(value['files']), archives: texts(value['archives']) }
  } catch {
    return none // damaged
  }
}

function texts(value: unknown): ReadonlyMap<string, string> {
  const entries = isRecord(value) ? Object.entries(value) : []
  return new Map(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}
