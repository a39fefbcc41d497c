// Feeds damaged documents to every parser: `pnpm campaign`, with SEED and EXECUTIONS (per parser). Valid documents are
// mutated with their structure in mind; an answer other than a value or an error of this package is a finding.
import { sha256, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  createTransportIdentity,
  formatAnchor,
  NoiseKeysError,
  parseAnchor,
  parseIdentityName,
  parseKeyRecord,
  verifyKeyList,
  verifyKeyRecord,
} from '@keyturn/noise-keys'
import {
  answerSigningRequest,
  draftPublication,
  addKey,
  deriveX25519Static,
  emptyMetadata,
  formatMetadata,
  formatSigningRequest,
  parseMetadata,
  parseSigningRequest,
  readSigningAnswer,
  signPublication,
  transportPublicKey,
} from '@keyturn/noise-keys/owner'
import { verifyKeys, KeyFloors } from '@keyturn/noise-keys/reader'
import {
  HandshakeState,
  noiseKeyPair,
  noiseProtocol,
  PUBKY_PROLOGUE,
  verifyIdentityPayload,
  writeIdentityPayload,
} from '@keyturn/noise-keys/noise'
import { decodeDnsPacket, relayPayload, verifyPacket } from '@keyturn/noise-keys/pkarr'

const SEED = Number(process.env['SEED'] ?? 1)
const EXECUTIONS = Number(process.env['EXECUTIONS'] ?? 20_000)
const SLOW_MS = 250
/** `ONLY=decodeDnsPacket` runs a single parser. */
const ONLY = process.env['ONLY']

/** xorshift32: repeatable from the printed seed. */
let state = (SEED * 2_654_435_761) >>> 0 || 1
function draw(below: number): number {
  state ^= state << 13
  state >>>= 0
  state ^= state >>> 17
  state ^= state << 5
  state >>>= 0
  return state % below
}

const nowS = 1_800_000_000
const seed = sha256(utf8Encode('campaign'))
const identity = createTransportIdentity(() => Uint8Array.from(seed))
const metadata = ['a', 'b'].reduce(
  (kept, device) =>
    addKey(kept, { device, publicKey: transportPublicKey(deriveX25519Static(seed, device)), generation: 'G2' }, nowS),
  emptyMetadata(identity.name),
)
const publication = draftPublication(metadata, nowS)
const signed = signPublication(seed, publication)
const record = utf8Encode(signed.records.get('a') ?? '')
const request = formatSigningRequest([publication])
const answer = answerSigningRequest(seed, request)
const floors = new KeyFloors()
verifyKeys(identity, { records: signed.records, list: signed.list, packet: signed.packet }, floors, { nowS })
const protocol = noiseProtocol('Noise_IK_25519_ChaChaPoly_BLAKE2s')
const [client, server] = [
  noiseKeyPair(protocol.dh, sha256(utf8Encode('c'))),
  noiseKeyPair(protocol.dh, sha256(utf8Encode('s'))),
]
const binding = {
  role: 'Client' as const,
  senderStatic: client.publicKey,
  receiverStatic: server.publicKey,
  pattern: 'IK' as const,
  prologue: PUBKY_PROLOGUE,
}
const message = new HandshakeState(protocol, {
  role: 'initiator',
  staticKey: client,
  remoteStatic: server.publicKey,
}).writeMessage(utf8Encode('payload'))

const text = (bytes: Uint8Array): string => utf8Decode(bytes)
/** `authentic`: nothing but the valid document itself may be accepted. */
interface Parser {
  readonly valid: Uint8Array
  parse(bytes: Uint8Array): unknown
  readonly isText?: boolean
  readonly authentic?: boolean
}

/** A record whose second signature was cut off is a plain one; readers refuse it where they saw a signed one. */
function verifyStateful(bytes: Uint8Array): void {
  const parsed = parseKeyRecord(text(bytes))
  if (parsed.format === 'plain') throw new NoiseKeysError('NK_DOWNGRADE', 'plain')
  verifyKeyRecord(parsed, { identity: identity.publicKey, deviceId: 'a' })
}

const parsers: Record<string, Parser> = {
  parseKeyRecord: { valid: record, isText: true, parse: (bytes) => parseKeyRecord(text(bytes)) },
  verifyKeyRecord: { valid: record, isText: true, authentic: true, parse: verifyStateful },
  verifyKeyList: { valid: signed.list, authentic: true, parse: (bytes) => verifyKeyList(identity.publicKey, bytes) },
  verifyKeys: {
    valid: record,
    isText: true,
    parse: (bytes) =>
      verifyKeys(
        identity,
        { records: new Map([['a', text(bytes)]]), list: signed.list, packet: signed.packet },
        new KeyFloors(),
        { nowS },
      ),
  },
  parseAnchor: {
    valid: utf8Encode(formatAnchor({ seq: 7, listSha256: seed, ts: nowS })),
    isText: true,
    parse: (bytes) => parseAnchor(text(bytes)),
  },
  parseIdentityName: {
    valid: utf8Encode(`https://${identity.name}:80/x`),
    isText: true,
    parse: (bytes) => parseIdentityName(text(bytes)),
  },
  parseMetadata: { valid: formatMetadata(metadata), parse: parseMetadata },
  'KeyFloors.parse': { valid: floors.format(), parse: (bytes) => KeyFloors.parse(bytes) },
  parseSigningRequest: { valid: request, parse: parseSigningRequest },
  answerSigningRequest: { valid: request, parse: (bytes) => answerSigningRequest(seed, bytes) },
  readSigningAnswer: { valid: answer, parse: (bytes) => readSigningAnswer(request, bytes) },
  decodeDnsPacket: { valid: signed.packet.dnsPacket, parse: (bytes) => decodeDnsPacket(identity.name, bytes) },
  verifyPacket: {
    valid: relayPayload(signed.packet),
    authentic: true,
    parse: (bytes) => verifyPacket(identity.publicKey, bytes),
  },
  verifyIdentityPayload: {
    valid: writeIdentityPayload(seed, binding, { text: 'hint' }),
    parse: (bytes) => verifyIdentityPayload(bytes, binding, nowS),
  },
  readMessage: {
    valid: message,
    authentic: true,
    parse: (bytes) => new HandshakeState(protocol, { role: 'responder', staticKey: server }).readMessage(bytes),
  },
}

const TOKENS = [
  ';',
  '=',
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '\n',
  '\0',
  'sig2=',
  'revoked=true',
  'null',
  '-1',
  '1e9',
  '9007199254740993',
  '__proto__',
  '\\u0000',
  '\xff',
].map((token) => Uint8Array.from(token, (character) => character.charCodeAt(0)))

/** One to four damages: a bit, a byte, a cut, a repeated or moved piece, a token put in, a number changed. */
function mutate(valid: Uint8Array): Uint8Array {
  let bytes = [...valid]
  for (let count = 1 + draw(4); count > 0; count -= 1) {
    const at = draw(bytes.length + 1)
    const length = 1 + draw(24)
    switch (draw(7)) {
      case 0:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << draw(8))
        break
      case 1:
        bytes[at] = draw(256)
        break
      case 2:
        bytes = bytes.slice(0, at)
        break
      case 3:
        bytes.splice(at, 0, ...bytes.slice(draw(bytes.length + 1)).slice(0, length))
        break
      case 4:
        bytes.splice(at, length)
        break
      case 5:
        bytes.splice(at, 0, ...(TOKENS[draw(TOKENS.length)] ?? []))
        break
      default:
        bytes.splice(at, 1, 0x30 + draw(10))
    }
  }
  return Uint8Array.from(bytes, (byte) => byte ?? 0)
}

let findings = 0
let executed = 0
for (const [name, { valid, parse, isText, authentic }] of Object.entries(parsers)) {
  if (ONLY !== undefined && ONLY !== name) continue
  const codes = new Map<string, number>()
  let slowestMs = 0
  const started = performance.now()
  for (let run = 0; run < EXECUTIONS; run += 1) {
    // Text reaches the text parsers as text: any byte becomes a character.
    const mutated = mutate(valid)
    const input = isText === true ? utf8Encode(String.fromCharCode(...mutated)) : mutated
    const start = performance.now()
    let outcome = 'accepted'
    try {
      parse(input)
      if (authentic === true && Buffer.compare(input, valid) !== 0) outcome = 'forged'
    } catch (error) {
      outcome = error instanceof NoiseKeysError ? error.code : 'untyped'
      if (outcome === 'untyped') console.error(`${name}: ${String(error)}`)
    }
    executed += 1
    if (outcome === 'untyped' || outcome === 'forged') {
      findings += 1
      console.error(`${name}: ${outcome}: ${Buffer.from(input).toString('base64')}`)
    }
    slowestMs = Math.max(slowestMs, performance.now() - start)
    codes.set(outcome, (codes.get(outcome) ?? 0) + 1)
  }
  if (slowestMs > SLOW_MS) console.error(`${name}: an input took ${slowestMs.toFixed(0)} ms`)
  const shown = [...codes]
    .sort(([, a], [, b]) => b - a)
    .map(([code, count]) => `${code} ${count}`)
    .join(', ')
  console.log(
    `${name}: ${EXECUTIONS} in ${((performance.now() - started) / 1000).toFixed(1)} s, slowest ` +
      `${slowestMs.toFixed(1)} ms: ${shown}`,
  )
}
console.log(`seed ${SEED}, ${executed} executions, ${findings} findings`)
process.exitCode = findings === 0 ? 0 : 70
