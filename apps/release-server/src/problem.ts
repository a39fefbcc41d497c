import { KeyturnError, printable } from '@keyturn/primitives'
import { httpStatus, ServerError } from './errors.ts'

/** Start of the `type` of a problem; the code follows. */
export const PROBLEM_TYPE_BASE = 'https://keyturn.dev/errors/'

const TITLES: Readonly<Record<string, string>> = {
  usage: 'The request does not fit what is here',
  io: 'The storage failed',
  unavailable: 'Not available at the moment',
  input: 'The request is malformed or too large',
  auth: 'Not authentic or not allowed',
  policy: 'Refused by the rules of releases',
  busy: 'In conflict with the current state',
  bug: 'The server failed',
}

/** An error answer: status, headers and body. */
export interface ProblemAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Errors that carry a list for the answer (missing blobs, fields). */
export class ListedError extends ServerError {
  /** The list, at most 10,000 items. */
  readonly errors: readonly string[]

  /** @param errors - Shown in the member `errors` of the answer. */
  constructor(code: ConstructorParameters<typeof ServerError>[0], message: string, errors: readonly string[]) {
    super(code, message, { details: { count: errors.length } })
    this.errors = errors.slice(0, 10_000)
  }
}

/**
 * Makes the answer to an error, RFC 9457. Anything but a `KeyturnError`, and every `bug`, shows only the request id: no
 * stack, no path.
 */
export function problemAnswer(error: unknown, requestId: string): ProblemAnswer {
  const known =
    error instanceof KeyturnError ? error : new ServerError('SRV_INTERNAL', 'The server failed', { cause: error })
  const quiet = known.kind === 'bug' || (known.kind === 'io' && !/^(UP_|BLOB_)/.test(known.code))
  const status = httpStatus(known)
  const retryAfter = known.details['retryAfterS'] ?? (status === 503 ? 2 : undefined)
  return {
    status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
      ...(status === 401 ? { 'www-authenticate': 'Bearer realm="keyturn"' } : {}),
    },
    body: JSON.stringify({
      type: PROBLEM_TYPE_BASE + known.code,
      title: TITLES[known.kind] ?? 'Error',
      status,
      code: known.code,
      kind: known.kind,
      ...(quiet ? {} : { detail: printable(known.message, 500) }),
      ...(quiet || known.hint === undefined ? {} : { hint: printable(known.hint, 500) }),
      request_id: requestId,
      ...(known instanceof ListedError ? { errors: known.errors } : {}),
    }),
  }
}
