import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { hexEncode, parseStrictJson, sha256, utf8Encode } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { isMissing, syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import { damagedJournal, Facts, parseIsoTime } from './facts.ts'

/** What one kind of rotation keeps in its journal: a typed state, one parser that reads it, one formatter. */
export interface Rotation<State> {
  /** Name of the journal: `content`, `identity`, … */
  readonly name: string
  /** For people: `the content key`. */
  readonly what: string
  /** Every list of steps that it may run, in order. */
  readonly orders: readonly (readonly string[])[]
  /** Steps that are left out where there is nothing for them to do. */
  readonly skippable?: readonly string[] | undefined
  /** Reads the facts; `isDone` says which steps must have left theirs. Throws `CLI_TURN_JOURNAL`. */
  parse(facts: Facts, isDone: (step: string) => boolean): State
  /** As {@link parse} reads them. Public facts only: a secret is in the keystore, or it is lost. */
  format(state: State): JsonObject
}

/** What is remembered of a rotation between its steps. */
export interface RotationRecord<State> {
  /** Name of the journal. */
  readonly rotation: string
  readonly startedMs: number
  /** Names of the finished steps, in order. */
  readonly done: readonly string[]
  readonly state: State
}

/** One step. A crash may repeat it, so its effect is the same when it runs twice with the same state. */
export interface RotationStep<State, Out = Partial<State>> {
  /** Stable name, kept in the journal. */
  readonly name: string
  /** What it does, for the plan and for progress: "make content key 2". */
  readonly title: string
  /** Does it, and gives what later steps need. */
  run(state: State): Promise<Out | undefined>
}

/** Options of {@link runRotationSteps}. */
export interface RunOptions<State> {
  /** Folder of the journals. */
  readonly folder: string
  readonly nowMs: number
  /** Called before each step that runs. */
  readonly onStep?: ((step: RotationStep<State>, index: number, total: number) => void) | undefined
  /** Called after a step had its effect and before the journal knows: for tests that stop there. */
  readonly afterEffect?: ((step: RotationStep<State>) => void) | undefined
  /**
   * Asked at the end: the state with which another rotation of that name begins at once, in the write that ends this
   * one; a crash between the two then loses nothing. Without it the journal is removed.
   */
  readonly followedBy?: ((state: State) => Promise<State>) | undefined
  /** The rotation stays in its journal after this step, to be finished later. */
  readonly stopAfter?: string | undefined
  readonly signal?: AbortSignal | undefined
}

const MAX_JOURNAL_BYTES = 4 * 1024 * 1024

/**
 * Runs a rotation to its end, from where it was interrupted if it was: the journal is written after each step, so that
 * a killed process repeats at most one.
 *
 * @param rotation - Which kind; one journal each.
 * @param steps - All of them, in order, the same at every call.
 * @param options - Folder, time, observers.
 * @returns The state at the end, and whether an interrupted rotation was resumed.
 * @throws PublisherError `CLI_TURN_JOURNAL`; whatever a step throws.
 */
export async function runRotationSteps<State>(
  rotation: Rotation<State>,
  steps: readonly RotationStep<State>[],
  options: RunOptions<State>,
): Promise<{ state: State; resumed: boolean }> {
  const found = await readRotation(options.folder, rotation)
  let record = found ?? { rotation: rotation.name, startedMs: options.nowMs, done: [], state: emptyState(rotation) }
  for (const [index, step] of steps.entries()) {
    if (record.done.includes(step.name)) continue
    options.signal?.throwIfAborted()
    options.onStep?.(step, index, steps.length)
    const state = await step.run(record.state)
    options.afterEffect?.(step)
    record = { ...record, done: [...record.done, step.name], state: { ...record.state, ...state } }
    await writeRotation(options.folder, rotation, record)
    if (step.name === options.stopAfter) return { state: record.state, resumed: found !== undefined }
  }
  if (options.followedBy === undefined) await dropRotation(options.folder, rotation.name)
  else {
    const state = await options.followedBy(record.state)
    await writeRotation(options.folder, rotation, { ...record, startedMs: options.nowMs, done: [], state })
  }
  return { state: record.state, resumed: found !== undefined }
}

function emptyState<State>(rotation: Rotation<State>): State {
  return rotation.parse(new Facts({}, whereOf(rotation.name)), () => false)
}

/**
 * Reads the journal of a rotation that was interrupted; undefined when there is none.
 *
 * @param folder - Folder of the journals.
 * @param rotation - Which kind.
 * @throws PublisherError `CLI_TURN_JOURNAL`.
 */
export async function readRotation<State>(
  folder: string,
  rotation: Rotation<State>,
): Promise<RotationRecord<State> | undefined> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(journalPath(folder, rotation.name))
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw cause
  }
  return parseJournal(bytes, rotation)
}

/** Removes the journal of a rotation: it is finished, or was given up. */
export async function dropRotation(folder: string, name: string): Promise<void> {
  await rm(journalPath(folder, name), { force: true })
  await syncFolder(folder)
}

/** Puts a journal that cannot be read out of the way; it is kept beside. */
export async function setJournalAside(folder: string, name: string, nowMs: number): Promise<string> {
  const kept = `${journalPath(folder, name)}.damaged-${nowMs}`
  await rename(journalPath(folder, name), kept)
  await syncFolder(folder)
  return kept
}

/** Names of the rotations that were interrupted. */
export async function pendingRotations(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder))
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length))
      .toSorted()
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

async function writeRotation<State>(
  folder: string,
  rotation: Rotation<State>,
  record: RotationRecord<State>,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const body: JournalBody = {
    format: 'keyturn-turn',
    version: 2,
    turn: rotation.name,
    started: new Date(record.startedMs).toISOString(),
    done: [...record.done],
    facts: rotation.format(record.state),
  }
  const text = `${JSON.stringify({ ...body, digest: digestOf(body) }, null, 2)}\n`
  await writeFileAtomic(journalPath(folder, rotation.name), utf8Encode(text), { mode: 0o600 })
}

function journalPath(folder: string, name: string): string {
  return join(folder, `${name}.json`)
}

function whereOf(name: string): string {
  return `the rotation "${name}"`
}

/** A journal without its digest. The words are those of the first version: older programs wrote them. */
interface JournalBody extends JsonObject {
  readonly format: 'keyturn-turn'
  readonly version: 2
  readonly turn: string
  readonly started: string
  readonly done: string[]
  readonly facts: JsonObject
}

/** Shows that a broken disk or an editor changed a journal; it does not protect from someone who writes a new one. */
function digestOf(body: JsonObject): string {
  const { format, version, turn, started, done, facts } = body
  return hexEncode(sha256(utf8Encode(JSON.stringify([format, version, turn, started, done, facts]))))
}

function parseJournal<State>(bytes: Uint8Array, rotation: Rotation<State>): RotationRecord<State> {
  const where = whereOf(rotation.name)
  let value: JsonValue
  try {
    value = parseStrictJson(bytes, { maxBytes: MAX_JOURNAL_BYTES })
  } catch (cause) {
    throw damagedJournal(where, 'it is not strict JSON', cause)
  }
  return new Facts({ journal: value }, where).object('journal', (journal) => {
    journal.text('format', (text) => text === 'keyturn-turn')
    const version = journal.integer('version', 1, 2)
    journal.text('turn', (text) => text === rotation.name)
    const startedMs = startOf(journal, version)
    const done = journal.words('done')
    if (!isBeginning(done, rotation)) throw damagedJournal(where, `its steps are ${done.join(', ')}`)
    // Version 1 has no digest: what it says is taken at its word, as far as the types and ranges go.
    if (version === 2 && journal.hex('digest', 32) !== digestOf(value as JsonObject))
      throw damagedJournal(where, 'its digest does not match; the file was changed')
    const state = journal.object('facts', (facts) => rotation.parse(facts, (step) => done.includes(step)))
    return { rotation: rotation.name, startedMs, done, state }
  })
}

/** Version 1 let the start be empty; it is only shown. */
function startOf(journal: Facts, version: number): number {
  return version === 2 ? journal.isoAsMs('started') : (parseIsoTime(journal.text('started')) ?? 0)
}

/** Whether steps are the first ones of an order, but for those that may be left out. */
function isBeginning(
  done: readonly string[],
  { orders, skippable = [] }: Pick<Rotation<unknown>, 'orders' | 'skippable'>,
): boolean {
  return orders.some((order) => {
    const needed = order.filter((step) => done.includes(step) || !skippable.includes(step))
    return done.every((step, index) => needed[index] === step)
  })
}
