import {
  base64Decode,
  base64Encode,
  canonicalJson,
  hexEncode,
  parseStrictJson,
  sha256,
  utf8Decode,
  utf8Encode,
} from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { NoiseKeysError } from '../errors.ts'
import { parseIdentityName } from '../identity.ts'
import { relayPayload, verifyPacket } from '../pkarr/signed-packet.ts'
import { signPublication, verifyPublication } from './publication.ts'
import type { Publication, SignedPublication } from './publication.ts'

const REQUEST_TYPE = 'keyturn.noise-signing-request'
const ANSWER_TYPE = 'keyturn.noise-signing-answer'
const MAX_FILE_BYTES = 4 << 20

/**
 * Writes a signing request: what is to be signed, in plain words and numbers, for a machine that has the cold key and
 * no network. Several publications, dated, can be signed in one session.
 *
 * @returns The file's bytes; nothing in it is secret.
 */
export function formatSigningRequest(publications: readonly Publication[]): Uint8Array {
  const value = { type: REQUEST_TYPE, version: 1, publications }
  return utf8Encode(`${JSON.stringify(JSON.parse(canonicalJson(value as unknown as JsonValue)), null, 2)}\n`)
}

/** @throws {@link NoiseKeysError} `NK_REQUEST`. */
export function parseSigningRequest(bytes: Uint8Array): Publication[] {
  const { type, version, publications } = parseFile(bytes)
  if (type !== REQUEST_TYPE || version !== 1 || !Array.isArray(publications) || publications.length === 0)
    fail('it is not a signing request')
  const list = publications as unknown as Publication[]
  const identities = new Set(list.map(({ identity }) => identity))
  if (identities.size !== 1) fail('it is about several identities')
  return list
}

/** Lines a person reads before signing: what each publication says about each key. */
export function describeSigningRequest(publications: readonly Publication[]): string[] {
  return publications.flatMap((publication) => [
    `identity ${publication.identity}, on ${date(publication.atS)}: key list ${publication.list.seq}`,
    ...publication.records.map(({ device, state, publicKey, sequence, expiresS, retiringUntilS, reason }) => {
      const until = retiringUntilS === undefined ? '' : `, answers until ${date(retiringUntilS)}`
      return (
        `  ${device}: ${state}${reason === undefined ? '' : ` (${reason})`}${until}, record ` +
        `${sequence}, valid until ${date(expiresS)}, key ${publicKey}`
      )
    }),
    ...publication.list.tombstones.map(({ k, why, at }) => `  never again: ${k} (${why}, ${date(at)})`),
  ])
}

/**
 * Signs a request, on the machine that has the key.
 *
 * @param seed - Ed25519 seed of the identity; neither kept nor modified.
 * @returns The answer file's bytes; nothing in it is secret.
 * @throws {@link NoiseKeysError} `NK_REQUEST`, `NK_IDENTITY`, `NK_RECORD`, `NK_DNS_SIZE`.
 */
export function answerSigningRequest(seed: Uint8Array, request: Uint8Array): Uint8Array {
  let previous: SignedPublication | undefined
  const publications = parseSigningRequest(request).map((publication) => {
    // The requester cannot know the hash of a list that is signed only now.
    const chained =
      previous === undefined
        ? publication
        : { ...publication, list: { ...publication.list, prev: hexEncode(sha256(previous.list)) } }
    const signed = signWell(seed, chained)
    previous = signed
    const { identity, atS, records, list, packet } = signed
    return {
      identity,
      atS,
      records: Object.fromEntries(records),
      list: utf8Decode(list),
      packet: base64Encode(relayPayload(packet)),
    }
  })
  return utf8Encode(
    `${JSON.stringify({ type: ANSWER_TYPE, version: 1, request_sha256: hexEncode(sha256(request)), publications }, null, 2)}\n`,
  )
}

/**
 * Reads an answer and checks every signature in it, against the request it belongs to.
 *
 * @throws {@link NoiseKeysError} `NK_REQUEST`, `NK_BINDING_SIGNATURE`, `NK_RECORD`.
 */
export function readSigningAnswer(request: Uint8Array, answer: Uint8Array): SignedPublication[] {
  const { type, version, request_sha256: hash, publications } = parseFile(answer)
  if (type !== ANSWER_TYPE || version !== 1 || !Array.isArray(publications))
    fail('it is not an answer to a signing request')
  if (hash !== hexEncode(sha256(request))) fail('it answers another request')
  const asked = parseSigningRequest(request)
  if (publications.length !== asked.length) fail('it has another number of publications than the request')
  return publications.map((value, index) => readPublication(value, asked[index] as Publication))
}

function readPublication(value: JsonValue, asked: Publication): SignedPublication {
  let signed: SignedPublication
  try {
    const { identity, atS, records, list, packet } = value as unknown as {
      identity: string
      atS: number
      records: Record<string, string>
      list: string
      packet: string
    }
    signed = {
      identity,
      atS,
      records: new Map(Object.entries(records)),
      list: utf8Encode(list),
      packet: verifyPacket(parseIdentityName(identity).publicKey, base64Decode(packet)),
    }
  } catch (cause) {
    if (cause instanceof NoiseKeysError && cause.code !== 'NK_IDENTITY') throw cause
    throw new NoiseKeysError('NK_REQUEST', 'Cannot read signing answer: a publication is damaged', { cause })
  }
  const sameDevices =
    [...signed.records.keys()].sort().join() ===
    asked.records
      .map(({ device }) => device)
      .sort()
      .join()
  if (signed.identity !== asked.identity || signed.atS !== asked.atS || !sameDevices)
    fail('it is about something else than the request')
  verifyPublication(signed)
  return signed
}

/** A draft from a file has any shape: what the writers refuse with a TypeError is a damaged request here. */
function signWell(seed: Uint8Array, publication: Publication): SignedPublication {
  try {
    const signed = signPublication(seed, publication)
    // What no reader would take is not worth carrying back: a list without its number, say.
    verifyPublication(signed)
    return signed
  } catch (cause) {
    if (cause instanceof NoiseKeysError) throw cause
    throw new NoiseKeysError('NK_REQUEST', 'Cannot sign: the request is damaged', { cause })
  }
}

function parseFile(bytes: Uint8Array): Readonly<Record<string, JsonValue>> {
  try {
    const value = parseStrictJson(bytes, { maxBytes: MAX_FILE_BYTES })
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch (cause) {
    throw new NoiseKeysError('NK_REQUEST', 'Cannot read the file: it is not strict JSON', { cause })
  }
  return fail('it holds no object')
}

function date(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z`
}

function fail(problem: string): never {
  throw new NoiseKeysError('NK_REQUEST', `Cannot read the file: ${problem}`)
}
