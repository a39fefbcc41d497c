import { KeyturnError } from '@keyturn/primitives'
import type { ErrorCatalogue, ErrorContext } from '@keyturn/primitives'

/** The codes of the release server and its client. */
export const serverErrors = {
  SRV_CONFIG: {
    kind: 'usage',
    meaning: 'The configuration of the server is incomplete or contradicts itself.',
    remedy: 'Fix the setting that the message names and start again.',
  },
  SRV_NOT_FOUND: {
    kind: 'usage',
    meaning: 'Nothing exists under this address, or the token may not see it.',
    remedy: 'Check the address, the product and the scopes of the token.',
  },
  SRV_METHOD: {
    kind: 'usage',
    meaning: 'The address exists, but it does not answer this method.',
    remedy: 'Use a method named in the Allow header.',
  },
  SRV_REQUEST: {
    kind: 'input',
    meaning: 'A request is malformed: its JSON, a field, a header or its length.',
    remedy: 'Compare the request with /openapi.json; the message names the field.',
  },
  SRV_MEDIA_TYPE: {
    kind: 'input',
    meaning: 'The body of a request has a content type that this address does not read.',
    remedy: 'Send the content type that /openapi.json names for the address.',
  },
  SRV_LIMIT: {
    kind: 'input',
    meaning: 'A request is larger than the server allows.',
    remedy: 'Send less at once; blobs above 16 MiB go through resumable uploads.',
  },
  SRV_HEADERS: {
    kind: 'input',
    meaning: 'The header section of a request is too large.',
    remedy: 'Send fewer or shorter headers.',
  },
  SRV_AUTH: {
    kind: 'auth',
    meaning: 'The request carries no valid token: it is missing, unknown, expired or revoked.',
    remedy: 'Ask an administrator for a token, or create one with `keyturn-server token create`.',
  },
  SRV_SCOPE: {
    kind: 'auth',
    meaning: 'The token is valid but does not have the scope that this call needs.',
    remedy: 'Use a token with the scope that the message names.',
  },
  SRV_ORIGIN: {
    kind: 'auth',
    meaning: 'A change with a browser session was requested by a page of another origin.',
    remedy: 'Use the dashboard of this server.',
  },
  SRV_ACCESS: {
    kind: 'auth',
    meaning: 'The documents of a channel need an access code, and the request has none or a wrong one.',
    remedy: 'Ask the publisher for the code of the channel.',
  },
  SRV_RATE: {
    kind: 'busy',
    meaning: 'Too many requests in a short time.',
    remedy: 'Wait for the seconds named in Retry-After.',
  },
  SRV_CONFLICT: {
    kind: 'busy',
    meaning: 'What you wanted to change was changed by somebody else in between, or exists already.',
    remedy: 'Read it again, decide again, and repeat the call.',
  },
  SRV_NOT_YET: {
    kind: 'policy',
    meaning: 'The runtime key belongs to a release that is scheduled for later: the server does not take it yet.',
    remedy: 'Wait for its time, or run "keyturn release schedule VERSION --now".',
  },
  SRV_PRECONDITION: {
    kind: 'busy',
    meaning: 'A condition of the request (If-Match) does not hold.',
    remedy: 'Read the current state and repeat the call with its tag.',
  },
  SRV_IDEMPOTENCY: {
    kind: 'busy',
    meaning: 'An Idempotency-Key was used before with another request.',
    remedy: 'Use a new key for each new request.',
  },
  SRV_UNAVAILABLE: {
    kind: 'unavailable',
    meaning: 'The server cannot answer at the moment: it is starting or shutting down, or its storage does not answer.',
    remedy: 'Repeat the request after the seconds named in Retry-After.',
  },
  SRV_TIMEOUT: {
    kind: 'unavailable',
    meaning: 'The other side was too slow to send or to receive.',
    remedy: 'Repeat the request over a better connection; uploads continue where they stopped.',
  },
  SRV_NETWORK: {
    kind: 'unavailable',
    meaning: 'The release server could not be reached.',
    remedy: 'Check the address, and that the server runs.',
  },
  SRV_STORAGE: {
    kind: 'io',
    meaning: 'The storage of the server failed, or contains something that it should not.',
    remedy: 'Find the request id in the log of the server; run `keyturn-server fsck`.',
  },
  SRV_AUDIT: {
    kind: 'auth',
    meaning: 'The audit log is not consistent: an entry was changed, removed or inserted.',
    remedy: 'Compare with an exported copy; the message names the first entry that does not match.',
  },
  SRV_PRODUCT_TRUST: {
    kind: 'policy',
    meaning: 'The product has no accepted key event log and role document yet, so nothing can be verified.',
    remedy: 'Upload the role document, then the key event log, then the release.',
  },
  SRV_HEAD_NEEDED: {
    kind: 'policy',
    meaning: 'The change needs a head signed by the publisher, and no head signer is connected.',
    remedy: 'Run "keyturn release halt", "rollout" or "renew" in the home of the publisher.',
  },
  SRV_INTERNAL: {
    kind: 'bug',
    meaning: 'The server failed in a way that it should not.',
    remedy: 'Report it with the request id; the log has the cause.',
  },
  UP_AUTH: {
    kind: 'auth',
    meaning: 'An upload carries no valid token with the scope blobs:write.',
    remedy: 'Use a token with the scope blobs:write.',
  },
  UP_SCOPE: {
    kind: 'auth',
    meaning: 'The token of an upload is valid but does not have the scope blobs:write.',
    remedy: 'Use a token with the scope blobs:write.',
  },
  UP_HASH: {
    kind: 'auth',
    meaning: 'Uploaded bytes do not have the SHA-256 that was announced; nothing was stored.',
    remedy: 'Upload again; if it happens again, the file changes while it is read.',
  },
  UP_LENGTH: {
    kind: 'input',
    meaning: 'An upload is shorter or longer than announced, or its length is missing.',
    remedy: 'Send exactly as many bytes as announced.',
  },
  UP_LENGTH_REQUIRED: {
    kind: 'input',
    meaning: 'An upload does not say how long it is.',
    remedy: 'Send Content-Length; chunked bodies are not accepted.',
  },
  UP_CHECKSUM: {
    kind: 'auth',
    meaning: 'A piece of an upload does not have the checksum that was sent with it; it was not stored.',
    remedy: 'Send the piece again.',
  },
  UP_OFFSET: {
    kind: 'busy',
    meaning: 'A resumable upload continues at another offset than the one that was sent.',
    remedy: 'Ask for the offset with HEAD and continue from there.',
  },
  UP_GONE: {
    kind: 'policy',
    meaning: 'A resumable upload has expired or was ended.',
    remedy: 'Start a new upload.',
  },
  UP_UNKNOWN: {
    kind: 'usage',
    meaning: 'There is no resumable upload with this id.',
    remedy: 'Start a new upload.',
  },
  UP_DISK_FULL: {
    kind: 'io',
    meaning: 'The storage of the server is full; reading still works.',
    remedy: 'Free space or collect garbage on the server, then upload again.',
  },
  UP_QUOTA: {
    kind: 'policy',
    meaning: 'The access token may not upload that many bytes.',
    remedy: 'Ask the administrator of the server for a token with a larger quota.',
  },
  PUB_MISSING_BLOBS: {
    kind: 'policy',
    meaning: 'A manifest names blobs that the server does not have; the channel is unchanged.',
    remedy: 'Upload the blobs that the answer lists and publish again.',
  },
  PUB_ROLLBACK: {
    kind: 'policy',
    meaning: 'A release or head is older than what the channel already has, or the same.',
    remedy: 'Sign with the next sequence; to go back, make a new manifest of the old files.',
  },
  PUB_UNKNOWN_RELEASE: {
    kind: 'policy',
    meaning: 'A head pins a release that was never created on this channel, or one with other bytes.',
    remedy: 'Create the release first, with exactly the bytes that the head pins.',
  },
  PUB_TAKEN: {
    kind: 'policy',
    meaning: 'A version or sequence is already taken by a release with other bytes.',
    remedy: 'Releases never change: use the next version and sequence.',
  },
  PUB_PUBLISHED: {
    kind: 'policy',
    meaning: 'The release was published, so it stays in the history of its channel.',
    remedy: 'Withdraw it with a head: "keyturn release halt --withdraw".',
  },
  PUB_STALE: {
    kind: 'busy',
    meaning: 'The channel has changed since the publisher read it.',
    remedy: 'Read the channel again and sign a head with the next sequence.',
  },
  PUB_UNSEALED: {
    kind: 'policy',
    meaning: 'The key event log seals a role document that the server does not have.',
    remedy: 'Upload the role document before the log.',
  },
  PUB_WOULD_BREAK: {
    kind: 'policy',
    meaning: 'A new key event log or role document would leave a channel without enough valid signatures.',
    remedy: 'Sign manifest and head with the new keys too and send them in the same call.',
  },
  PUB_LEGACY_KEY: {
    kind: 'policy',
    meaning:
      'A signature for installs with pinned keys would be added or replaced, and the product names no key to ' +
      'verify it with.',
    remedy: 'Name the public keys that old installs pin, once: `pinned_keys` of the product.',
  },
  BLOB_NAME: {
    kind: 'usage',
    meaning: 'The name of a blob is not 64 lower-case hexadecimal digits.',
    remedy: 'Name blobs by the SHA-256 of their bytes.',
  },
  BLOB_UNKNOWN: {
    kind: 'usage',
    meaning: 'The server does not have this blob.',
    remedy: 'Upload it, or publish the release that names it.',
  },
  BLOB_CORRUPT: {
    kind: 'io',
    meaning: 'A stored blob no longer has the SHA-256 in its name; it was set aside.',
    remedy: 'Upload the blob again, and check the disk.',
  },
  GC_UNSAFE: {
    kind: 'policy',
    meaning: 'Garbage collection cannot tell what is still needed, so it deleted nothing.',
    remedy: 'Fix the release that the message names, or remove it, and run again.',
  },
  GC_RUNNING: {
    kind: 'busy',
    meaning: 'Garbage collection is already running.',
    remedy: 'Wait for it to end.',
  },
} as const satisfies ErrorCatalogue<string>

/** A code of the release server. */
export type ServerErrorCode = keyof typeof serverErrors

/** Thrown for bad input or bad state. Branch on `code`. */
export class ServerError extends KeyturnError<ServerErrorCode> {
  override readonly name = 'ServerError'

  /**
   * @param code - What is wrong.
   * @param message - What failed, where, what was found and what was expected.
   * @param context - Details, hint and cause.
   */
  constructor(code: ServerErrorCode, message: string, context?: ErrorContext) {
    super(serverErrors, code, message, context)
  }
}
