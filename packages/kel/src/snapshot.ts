import { base64Decode, base64Encode, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { KelError } from './errors.ts'
import { isInception, isRotation, parseEvent } from './event.ts'
import type { EventType } from './event.ts'
import { inceptionState } from './key-state.ts'
import type { KeyState } from './key-state.ts'
import { EventLog } from './log.ts'
import type { VerifiedEvent } from './log.ts'
import { readFrame } from './stream.ts'

/** What a later check needs of a log that was verified: the last establishment and the places after it. */
export interface LogSnapshot {
  readonly establishment: KeyState
  readonly tail: readonly VerifiedEvent[]
}

const format = 'keyturn-key-state'

function invalid(cause?: unknown): KelError {
  return new KelError('KEL_CORRUPT', 'Cached key state is damaged or of another version', {
    hint: 'Delete it and verify the whole log again',
    cause,
  })
}

/**
 * Writes what is known after a log was verified, so that the next check costs only the new events. A cache of one's
 * own, to be trusted like one's own disk; never take it from others.
 *
 * @param log - Anything that holds the verified chain with its messages.
 */
export function writeSnapshot(log: {
  readonly state: KeyState
  readonly events: readonly VerifiedEvent[]
}): Uint8Array {
  const { state, events } = log
  const at = state.lastEstablishment.sn
  const { prefix, witnesses, traits, delegator } = state
  return utf8Encode(
    JSON.stringify({
      format,
      version: 1,
      prefix,
      witnesses,
      traits,
      delegator: delegator ?? null,
      establishment: base64Encode((events[at] as VerifiedEvent).raw),
      tail: events.slice(at + 1).map(({ sn, said }) => ({ sn, said })),
    }),
  )
}

function strings(value: JsonValue | undefined): readonly string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) throw invalid()
  return value as readonly string[]
}

function parsePlaces(value: JsonValue | undefined, first: number): readonly { sn: number; said: string }[] {
  if (!Array.isArray(value)) throw invalid()
  return value.map((item, at) => {
    const { sn, said } = item as { sn?: JsonValue; said?: JsonValue }
    if (sn !== first + at + 1 || typeof said !== 'string') throw invalid()
    return { sn, said }
  })
}

/**
 * Reads back {@link writeSnapshot}. The establishment event is parsed and hashed again.
 *
 * @throws {@link KelError} `KEL_CORRUPT`.
 */
export function parseSnapshot(bytes: Uint8Array): LogSnapshot {
  try {
    const value = parseStrictJson(bytes, { maxBytes: 64 * 1024 * 1024 }) as Record<string, JsonValue>
    const { prefix, delegator, establishment } = value
    if (
      value['format'] !== format ||
      value['version'] !== 1 ||
      typeof prefix !== 'string' ||
      typeof establishment !== 'string'
    )
      throw invalid()
    const frame = readFrame(base64Decode(establishment), 0)
    const event = parseEvent(frame.body, frame.version, { lenient: 'keripy' })
    if (event.type === 'rct' || event.prefix !== prefix || (!isInception(event) && !isRotation(event))) throw invalid()
    const { keys, publicKeys, threshold, nextDigests, nextThreshold, witnessThreshold, sn, said, type } = event
    const known = {
      witnesses: strings(value['witnesses']),
      traits: strings(value['traits']),
      delegator: typeof delegator === 'string' ? delegator : undefined,
    }
    const state: KeyState = isInception(event)
      ? inceptionState(event)
      : {
          prefix,
          sn,
          said,
          type,
          keys,
          publicKeys,
          threshold,
          nextDigests,
          nextThreshold,
          witnessThreshold,
          lastEstablishment: { sn, said },
          ...known,
        }
    const entry = (place: { sn: number; said: string }, kind: EventType, raw: Uint8Array): VerifiedEvent => ({
      ...place,
      type: kind,
      keys: publicKeys,
      seals: [],
      raw,
      message: raw,
      prior: undefined,
    })
    const none = new Uint8Array(0)
    return {
      establishment: state,
      tail: [
        entry({ sn, said }, type, frame.body),
        ...parsePlaces(value['tail'], sn).map((place) => entry(place, 'ixn', none)),
      ],
    }
  } catch (cause) {
    throw cause instanceof KelError && cause.code === 'KEL_CORRUPT' ? cause : invalid(cause)
  }
}

/** The log that a snapshot goes on from. */
export function resumeLog(snapshot: LogSnapshot, keepsMessages: boolean): EventLog {
  return EventLog.resume(snapshot.establishment, snapshot.tail, keepsMessages)
}
