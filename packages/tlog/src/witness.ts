import { equalBytes, systemClock } from '@keyturn/primitives'
import type { Clock } from '@keyturn/primitives'
import { parseCheckpoint } from './checkpoint.ts'
import type { Checkpoint, TreeHead } from './checkpoint.ts'
import { TlogError } from './errors.ts'
import { EMPTY_ROOT, verifyConsistency } from './merkle.ts'
import { formatNote, parseNote, verifyNote } from './note.ts'
import type { NoteSignature, SignedNote } from './note.ts'
import { signText } from './signer.ts'
import type { NoteSigner } from './signer.ts'
import { quoted } from './text.ts'
import { isSameKey } from './verifier-key.ts'
import type { VerifierKey } from './verifier-key.ts'
import { parseWitnessRequest } from './witness-request.ts'

/** The last checkpoint of a log that a witness has signed. */
export interface WitnessedHead extends TreeHead {
  /** Its note, with the signatures of the log and of the witness. */
  readonly note: Uint8Array
}

/** Where a witness remembers. It must not lose what it said that it stored. */
export interface WitnessStore {
  /** The last checkpoint of a log; `undefined` when there is none. */
  load(origin: string): Promise<WitnessedHead | undefined>
  /**
   * Stores a checkpoint if the last one is still `expected`; durable when it returns.
   *
   * @param expected - What {@link load} returned.
   * @returns `false` when another request was first; nothing was stored.
   */
  replace(origin: string, expected: WitnessedHead | undefined, next: WitnessedHead): Promise<boolean>
}

/** A log that a witness watches. */
export interface WatchedLog {
  readonly origin: string
  /** Keys of the log; a signature by one of them is enough. */
  readonly keys: readonly VerifierKey[]
}

/** Options of {@link LogWitness}. */
export interface LogWitnessOptions {
  /** Default: the clock of the system. */
  readonly clock?: Clock | undefined
}

/** A store in memory: for tests, and for witnesses that forget everything when they stop. */
export function memoryWitnessStore(): WitnessStore {
  const heads = new Map<string, WitnessedHead>()
  return {
    load: (origin) => Promise.resolve(heads.get(origin)),
    replace: (origin, expected, next) => {
      const fits = heads.get(origin)?.size === expected?.size
      if (fits) heads.set(origin, next)
      return Promise.resolve(fits)
    },
  }
}

/** Thrown by {@link LogWitness.add} when the log does not know what the witness has signed last. */
export class WitnessConflict extends TlogError {
  /** Size of the last checkpoint that the witness has signed; 0 for none. */
  readonly size: number

  /** @param size - Size of the last checkpoint that the witness has signed. */
  constructor(origin: string, size: number) {
    super('TLOG_CONFLICT', `Witness has signed ${quoted(origin)} at size ${size} last`, { details: { size } })
    this.size = size
  }
}

/**
 * A witness, c2sp.org/tlog-witness: it signs a checkpoint only if that contains every checkpoint of the same log which
 * it has signed before. So a log that shows two people two different trees needs witnesses that lie too.
 */
export class LogWitness {
  readonly #signer: NoteSigner
  readonly #logs: ReadonlyMap<string, WatchedLog>
  readonly #store: WitnessStore
  readonly #clock: Clock

  /**
   * @param signer - Key of the type `cosignature`, used for nothing else.
   * @param logs - The logs that it watches; it signs for no others.
   * @throws TypeError for a signer of another type.
   */
  constructor(
    signer: NoteSigner,
    logs: readonly WatchedLog[],
    store: WitnessStore,
    { clock = systemClock }: LogWitnessOptions = {},
  ) {
    if (signer.key.type !== 'cosignature') throw new TypeError('A witness signs with a key of the type cosignature')
    this.#signer = signer
    this.#logs = new Map(logs.map((log) => [log.origin, log]))
    this.#store = store
    this.#clock = clock
  }

  /** Key of this witness. */
  get key(): VerifierKey {
    return this.#signer.key
  }

  /**
   * Answers one `add-checkpoint` request. The store has the checkpoint before this returns.
   *
   * @param body - As `formatWitnessRequest` writes it.
   * @returns The cosignature.
   * @throws {@link TlogError} `TLOG_PROOF`, `TLOG_NOTE`, `TLOG_CHECKPOINT`, `TLOG_LIMIT` (malformed),
   *   `TLOG_UNKNOWN_LOG`, `TLOG_SIGNATURE`, `TLOG_CONSISTENCY`; {@link WitnessConflict} with the size that the log
   *   should prove from.
   */
  async add(body: Uint8Array): Promise<NoteSignature> {
    const request = parseWitnessRequest(body)
    const note = parseNote(request.checkpoint)
    const checkpoint = parseCheckpoint(note.text)
    const { origin, size, root } = checkpoint
    const keys = this.#logs.get(origin)?.keys
    if (keys === undefined) throw new TlogError('TLOG_UNKNOWN_LOG', `Witness does not watch the log ${quoted(origin)}`)
    verifyNote(note, keys)
    if (request.oldSize > size) {
      throw new TlogError(
        'TLOG_PROOF',
        `Cannot read request: old size ${request.oldSize} is above the new size ${size}`,
      )
    }
    const known = await this.#store.load(origin)
    if (request.oldSize !== (known?.size ?? 0)) throw new WitnessConflict(origin, known?.size ?? 0)
    const from = known ?? { size: 0, root: EMPTY_ROOT }
    verifyConsistency({ from, to: { size, root } }, request.hashes)
    const timestamp = Math.floor(this.#clock() / 1000)
    const signature = await signText(note.text, this.#signer, timestamp)
    const kept = { text: note.text, signatures: [...ofLog(note, keys), signature] }
    if (!(await this.#store.replace(origin, known, { size, root, note: formatNote(kept) }))) {
      throw new WitnessConflict(origin, (await this.#store.load(origin))?.size ?? 0)
    }
    return signature
  }

  /** The last checkpoint of a log that this witness has signed, for monitors; `undefined` when there is none. */
  async latest(origin: string): Promise<Uint8Array | undefined> {
    return (await this.#store.load(origin))?.note
  }

  /** The logs that it watches. */
  get logs(): readonly WatchedLog[] {
    return [...this.#logs.values()]
  }
}

/** The signatures of the log itself: those of others were not verified, and are not passed on. */
function ofLog({ signatures }: SignedNote, keys: readonly VerifierKey[]): NoteSignature[] {
  return signatures.filter((line) => keys.some((key) => isSameKey(key, line)))
}

/** Two checkpoints of one log. */
export interface CheckpointPair {
  readonly left: Checkpoint
  readonly right: Checkpoint
}

/**
 * Whether two verified checkpoints of one log prove by themselves that it lied: the same size and different roots.
 * Checkpoints of different sizes need a consistency proof, or all entries, to be compared.
 */
export function isSplitView({ left, right }: CheckpointPair): boolean {
  return left.origin === right.origin && left.size === right.size && !equalBytes(left.root, right.root)
}
