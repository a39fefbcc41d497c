import type { KeyState, VerifiedEvent } from '@keyturn/kel'
import type { JsonObject, JsonValue } from '@keyturn/primitives'

function json(value: readonly JsonValue[]): JsonValue {
  return [...value]
}

/** A key state as commands print it: full words, every key and every promise. */
export function stateJson(state: KeyState): JsonObject {
  return {
    prefix: state.prefix,
    did: `did:keri:${state.prefix}`,
    sn: state.sn,
    said: state.said,
    type: state.type,
    keys: json(state.keys),
    threshold: state.threshold.text,
    next_digests: json(state.nextDigests),
    next_threshold: state.nextThreshold.text,
    witnesses: json(state.witnesses),
    witness_threshold: state.witnessThreshold,
    traits: json(state.traits),
    delegator: state.delegator ?? null,
    last_establishment: { sn: state.lastEstablishment.sn, said: state.lastEstablishment.said },
  }
}

/** One event of a log as commands print it. */
export function eventJson(event: VerifiedEvent): JsonObject {
  return { sn: event.sn, said: event.said, type: event.type, prior: event.prior ?? null, seals: json(event.seals) }
}
