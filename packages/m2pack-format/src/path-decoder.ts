import { M2pError } from './errors.ts'
import { checkPath } from './paths.ts'
import { plainPathKind } from './plain-path.ts'
import type { PathBatch } from './plain-path.ts'

/** Bytes of paths that are decoded together: the call costs more than the text. */
const BATCH_BYTES = 64 * 1024

/** What a decoded path is given to. */
interface Named {
  path: string
  isFolded: boolean
}

/** Decodes and checks the paths of a manifest, many at a time. */
export class PathDecoder {
  readonly #manifest: Uint8Array
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  readonly #batch: PathBatch = { bytes: new Uint8Array(BATCH_BYTES), length: 0 }
  readonly #ends: number[] = []
  readonly #named: Named[] = []

  constructor(manifest: Uint8Array) {
    this.#manifest = manifest
  }

  /**
   * Takes the path at `start` to `end`; its text is set later, at the latest by {@link flush}.
   *
   * @throws {@link M2pError} `M2P_PATH`, `M2P_LIMIT`.
   */
  add(start: number, end: number, index: number, named: Named): void {
    if (this.#batch.length + end - start > BATCH_BYTES) this.flush()
    const kind = plainPathKind(this.#manifest, start, end, this.#batch)
    if (kind === 'other') {
      named.path = this.#one(start, end, index)
      return
    }
    named.isFolded = kind === 'folded'
    this.#batch.length += end - start
    this.#ends.push(this.#batch.length)
    this.#named.push(named)
  }

  /** Sets every path that was not set yet. */
  flush(): void {
    const text = this.#decoder.decode(this.#batch.bytes.subarray(0, this.#batch.length))
    let start = 0
    for (const [index, named] of this.#named.entries()) {
      const end = this.#ends[index] as number
      named.path = text.slice(start, end)
      start = end
    }
    this.#ends.length = 0
    this.#named.length = 0
    this.#batch.length = 0
  }

  #one(start: number, end: number, index: number): string {
    let path: string
    try {
      path = this.#decoder.decode(this.#manifest.subarray(start, end))
    } catch (cause) {
      throw new M2pError('M2P_PATH', `Cannot read entry ${index}: its path is not UTF-8`, { cause })
    }
    checkPath(path)
    return path
  }
}
