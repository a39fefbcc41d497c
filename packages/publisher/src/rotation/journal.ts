import { mkdir, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseStrictJson } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { isMissing, syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import { PublisherError } from '../errors.ts'

/** What is remembered of a key turn between its steps. Public facts only: a secret is in the keystore, or it is lost. */
export interface TurnRecord {
  /** `content`, `identity`, … */
  readonly turn: string
  /** ISO 8601. */
  readonly started: string
  /** Names of the steps that are over, in order. */
  readonly done: readonly string[]
  /** What the steps pass on to each other: numbers, names, hashes, signed bytes in Base64. */
  readonly facts: JsonObject
}

/** One step. A crash may repeat it, so its effect is the same when it runs twice with the same facts. */
export interface TurnStep {
  /** Stable name, kept in the journal. */
  readonly name: string
  /** What it does, for the plan and for progress: "make content key 2". */
  readonly title: string
  /** Does it and gives the facts that later steps need. */
  run(facts: JsonObject): Promise<JsonObject | undefined>
}

/** Options of {@link runTurn}. */
export interface TurnOptions {
  /** Folder of the journals. */
  readonly folder: string
  /** Start time, ISO 8601. */
  readonly now: string
  /** Told before each step that runs. */
  readonly onStep?: (step: TurnStep, index: number, total: number) => void
  /** Told after a step had its effect and before the journal knows: for tests that stop there. */
  readonly afterEffect?: (step: TurnStep) => void
  /**
   * Asked at the end: facts with which another turn of that name begins at once, in the write that ends this one; a crash
   * between the two then loses nothing. Without it the journal goes.
   */
  readonly followedBy?: (facts: JsonObject) => Promise<JsonObject>
  readonly signal?: AbortSignal
}

const MAX_JOURNAL_BYTES = 4 * 1024 * 1024

/**
 * Runs a key turn to its end, from where it was interrupted if it was: the journal is written after each step, so that
 * a killed process repeats at most one.
 *
 * @param turn - Name of the turn; one journal each.
 * @param steps - All of them, in order, the same at every call.
 * @param options - Folder, time, observers.
 * @returns The facts at the end, and whether an interrupted turn was taken up.
 * @throws {@link PublisherError} `CLI_TURN_JOURNAL`; whatever a step throws.
 */
export async function runTurn(
  turn: string,
  steps: readonly TurnStep[],
  options: TurnOptions,
): Promise<{ facts: JsonObject; resumed: boolean }> {
  const found = await readTurn(options.folder, turn)
  let record: TurnRecord = found ?? { turn, started: options.now, done: [], facts: {} }
  for (const [index, step] of steps.entries()) {
    if (record.done.includes(step.name)) continue
    options.signal?.throwIfAborted()
    options.onStep?.(step, index, steps.length)
    const facts = await step.run(record.facts)
    options.afterEffect?.(step)
    record = { ...record, done: [...record.done, step.name], facts: { ...record.facts, ...facts } }
    await writeTurn(options.folder, record)
  }
  if (options.followedBy === undefined) await dropTurn(options.folder, turn)
  else
    await writeTurn(options.folder, {
      turn,
      started: options.now,
      done: [],
      facts: await options.followedBy(record.facts),
    })
  return { facts: record.facts, resumed: found !== undefined }
}

/**
 * Reads the journal of a turn that was interrupted; undefined when there is none.
 *
 * @param folder - Folder of the journals.
 * @param turn - Name of the turn.
 * @throws {@link PublisherError} `CLI_TURN_JOURNAL`.
 */
export async function readTurn(folder: string, turn: string): Promise<TurnRecord | undefined> {
  const path = journalPath(folder, turn)
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (cause) {
    if (isMissing(cause)) return undefined
    throw cause
  }
  let value: JsonValue
  try {
    value = parseStrictJson(bytes, { maxBytes: MAX_JOURNAL_BYTES })
  } catch (cause) {
    throw new PublisherError('CLI_TURN_JOURNAL', `Journal "${path}" is not strict JSON`, { cause })
  }
  if (!isRecord(value, turn))
    throw new PublisherError('CLI_TURN_JOURNAL', `Journal "${path}" is not one of a turn of "${turn}"`)
  return value
}

/** Forgets a turn: it is over, or was given up. */
export async function dropTurn(folder: string, turn: string): Promise<void> {
  await rm(journalPath(folder, turn), { force: true })
  await syncFolder(folder)
}

/** Names of the turns that were interrupted. */
export async function pendingTurns(folder: string): Promise<string[]> {
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

async function writeTurn(folder: string, record: TurnRecord): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const text = `${JSON.stringify({ format: 'keyturn-turn', version: 1, ...record }, null, 2)}\n`
  await writeFileAtomic(journalPath(folder, record.turn), new TextEncoder().encode(text), { mode: 0o600 })
}

function journalPath(folder: string, turn: string): string {
  return join(folder, `${turn}.json`)
}

function isRecord(value: JsonValue, turn: string): value is JsonObject & TurnRecord {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const { format, version, done, facts } = value
  return (
    format === 'keyturn-turn' &&
    version === 1 &&
    value['turn'] === turn &&
    typeof value['started'] === 'string' &&
    Array.isArray(done) &&
    done.every((name) => typeof name === 'string') &&
    typeof facts === 'object' &&
    facts !== null &&
    !Array.isArray(facts)
  )
}
