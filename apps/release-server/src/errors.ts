import type { ErrorKind, KeyturnError } from '@keyturn/primitives'

export { ServerError } from '@keyturn/release-client'
export type { ServerErrorCode } from '@keyturn/release-client'

const STATUS_OF_KIND: Readonly<Record<ErrorKind, number>> = {
  no: 200,
  usage: 400,
  io: 500,
  unavailable: 503,
  input: 400,
  auth: 422,
  policy: 409,
  interrupted: 503,
  busy: 409,
  bug: 500,
}

const STATUS_OF_CODE: Readonly<Partial<Record<string, number>>> = {
  SRV_NOT_FOUND: 404,
  SRV_METHOD: 405,
  SRV_MEDIA_TYPE: 415,
  SRV_LIMIT: 413,
  SRV_HEADERS: 431,
  SRV_AUTH: 401,
  SRV_SCOPE: 403,
  SRV_ACCESS: 403,
  SRV_ORIGIN: 403,
  SRV_RATE: 429,
  SRV_PRECONDITION: 412,
  SRV_TIMEOUT: 408,
  UP_AUTH: 401,
  UP_SCOPE: 403,
  UP_HASH: 422,
  UP_LENGTH_REQUIRED: 411,
  UP_CHECKSUM: 460,
  UP_GONE: 410,
  UP_UNKNOWN: 404,
  UP_DISK_FULL: 507,
  UP_QUOTA: 413,
  BLOB_NAME: 404,
  BLOB_UNKNOWN: 404,
  MAN_KEY_RETIRED: 422,
  MAN_KEY_KILLED: 422,
  MAN_KILL: 422,
  MAN_APP_MISMATCH: 422,
  MAN_UNKNOWN_FORMAT: 422,
  NK_HANDSHAKE: 400,
  NK_KEY_UNKNOWN: 410,
}

/** HTTP status of an error: by code where one is named, else by kind. */
export function httpStatus(error: KeyturnError): number {
  return STATUS_OF_CODE[error.code] ?? STATUS_OF_KIND[error.kind]
}
