import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** Every code this package throws, with its kind, its meaning and what to do. */
export const noiseKeysErrors = {
  NK_KEY: {
    kind: 'input',
    meaning: 'A key, seed or signature has the wrong length or encoding.',
    remedy: 'Check where the value comes from; keys and seeds have 32 bytes, signatures 64.',
  },
  NK_LOW_ORDER: {
    kind: 'auth',
    meaning: 'A public key is of low order: an agreement with it would give a secret that everyone knows.',
    remedy: 'Do not use this key; ask its owner for another.',
  },
  NK_IDENTITY: {
    kind: 'input',
    meaning: 'A text or key is not a transport identity: 52 characters of z-base-32 for an Ed25519 key of full order.',
    remedy: 'Copy the name again, or look at the role document for it.',
  },
  NK_DEVICE_ID: {
    kind: 'input',
    meaning: 'A device id is not 1 to 63 of the characters A-Z a-z 0-9 . _ - or is "." or "..".',
    remedy: 'Choose another device id.',
  },
  NK_KDF: {
    kind: 'input',
    meaning: 'A derivation was requested with parameters that its generation does not have.',
    remedy: 'Check generation, context and epoch.',
  },
  NK_BINDING_SIGNATURE: {
    kind: 'auth',
    meaning: 'A signature does not bind this key to this identity and device, or the signed text was changed.',
    remedy: 'Fetch the record again from another source; if the error remains, someone changed it.',
  },
  NK_RECORD: {
    kind: 'input',
    meaning: 'A key record, key list or anchor is not in its exact grammar.',
    remedy: 'Publish it again with this tool.',
  },
  NK_DNS_SIZE: {
    kind: 'input',
    meaning: 'A DNS packet is over 1000 bytes.',
    remedy: 'Publish fewer records under this identity; the key list needs one short record only.',
  },
  NK_STALE: {
    kind: 'policy',
    meaning: 'A record is older than the policy allows, or the time of its key is over.',
    remedy: 'Look the key up again; its owner publishes a newer record.',
  },
  NK_EXPIRED: {
    kind: 'policy',
    meaning: 'A record or key list has passed its own expiry date.',
    remedy: 'Its owner has to publish again.',
  },
  NK_FUTURE: {
    kind: 'policy',
    meaning: 'A record is dated in the future.',
    remedy: 'Check the clock of this machine, then that of the publisher.',
  },
  NK_ROLLBACK: {
    kind: 'policy',
    meaning: 'A record, list or packet is older than one that was seen before.',
    remedy: 'Ask another relay; if all agree, someone withholds the newer one.',
  },
  NK_EQUIVOCATION: {
    kind: 'policy',
    meaning: 'Two different documents were signed under the same sequence number.',
    remedy: 'Keep both as evidence and ask the owner over another channel.',
  },
  NK_DOWNGRADE: {
    kind: 'policy',
    meaning: 'A plain record came from an identity that signs its records.',
    remedy: 'Ask another relay; the plain record may be an old one.',
  },
  NK_REVOKED: {
    kind: 'policy',
    meaning: 'The key was revoked by its owner.',
    remedy: 'Use the key the list names as active.',
  },
  NK_NOT_ACTIVE: {
    kind: 'policy',
    meaning: 'The key is genuine, but not in use yet or not listed.',
    remedy: 'Use the key the list names as active.',
  },
  NK_UNVERIFIABLE: {
    kind: 'policy',
    meaning: 'Nothing recent enough confirms the state of this key.',
    remedy: 'Try again when the relays can be reached.',
  },
  NK_KEY_UNKNOWN: {
    kind: 'policy',
    meaning: 'The handshake is for a key that this side does not have, or no longer has.',
    remedy: 'Read the key records again and try once more.',
  },
  NK_NOT_FOUND: {
    kind: 'usage',
    meaning: 'The directory has nothing published under this name.',
    remedy: 'Check the identity, and whether it has published anything.',
  },
  NK_UNREACHABLE: {
    kind: 'unavailable',
    meaning: 'No directory answered.',
    remedy: 'Check the network and the addresses of the relays.',
  },
  NK_RELAY: {
    kind: 'io',
    meaning: 'A relay did not follow its protocol.',
    remedy: 'Ask the operator of the relay, or use another.',
  },
  NK_CONFLICT: {
    kind: 'busy',
    meaning: 'Someone else published for this identity at the same time.',
    remedy: 'Read what is published, merge, and publish again.',
  },
  NK_METADATA: {
    kind: 'input',
    meaning: 'A metadata file of transport keys is damaged or contradicts itself.',
    remedy: 'Restore it from the backup, or derive it again from what is published.',
  },
  NK_REQUEST: {
    kind: 'input',
    meaning: 'A signing request or its answer is damaged, or the two do not belong together.',
    remedy: 'Write the request again and sign it again.',
  },
  NK_HANDSHAKE: {
    kind: 'auth',
    meaning: 'A handshake message does not open: wrong key, prologue, pattern, role or length.',
    remedy: 'Check that both sides use the same protocol and current keys.',
  },
  NK_REPLAY: {
    kind: 'policy',
    meaning: 'A message was seen before.',
    remedy: 'Start a new handshake; if it happens again, someone repeats messages.',
  },
  NK_DECRYPT: {
    kind: 'auth',
    meaning: 'A transport message does not open; the session is ended.',
    remedy: 'Start a new handshake.',
  },
  NK_TRUNCATED: {
    kind: 'auth',
    meaning: 'A stream ended inside a message or without the message that ends it.',
    remedy: 'Do not use what came as if it were whole; connect again.',
  },
  NK_LIMIT: {
    kind: 'input',
    meaning: 'A message, name or count is over its limit.',
    remedy: 'Send smaller messages, at most 65519 bytes of plaintext each.',
  },
  NK_NONCE_EXHAUSTED: {
    kind: 'policy',
    meaning: 'A cipher has used all its nonces and encrypts nothing more.',
    remedy: 'Start a new handshake; rekey earlier.',
  },
  NK_SESSION_ENDED: {
    kind: 'policy',
    meaning: 'The session has ended: by age, by revocation of a key, or after a message that did not open.',
    remedy: 'Start a new handshake.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of this package. */
export type NoiseKeysErrorCode = keyof typeof noiseKeysErrors

/** Thrown for bad input, a refused key or a broken session. Branch on `code`. */
export class NoiseKeysError extends KeyturnError<NoiseKeysErrorCode> {
  override readonly name = 'NoiseKeysError'

  /**
   * @param code - What is wrong.
   * @param message - For people; never holds key material.
   * @param context - Details, hint and cause.
   */
  constructor(code: NoiseKeysErrorCode, message: string, context?: ErrorContext) {
    super(noiseKeysErrors, code, message, context)
  }
}
