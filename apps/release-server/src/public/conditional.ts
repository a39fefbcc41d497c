/** The headers that decide how much of a representation is sent. */
export interface ConditionalHeaders {
  readonly ifMatch: string | undefined
  readonly ifNoneMatch: string | undefined
  readonly ifRange: string | undefined
  readonly range: string | undefined
}

/** What to send: a status and, for 200 and 206, the first and last byte. */
export type Selection =
  | { readonly status: 200 }
  | { readonly status: 206; readonly start: number; readonly end: number }
  | { readonly status: 304 | 412 | 416 }

const RANGE_FORM = /^bytes=(\d{0,40})-(\d{0,40})$/i

/**
 * Selects status and range of a GET or HEAD, RFC 9110 §13 and §14. One range is honored; several are answered with the
 * whole representation, which the RFC allows; an unknown unit is ignored.
 *
 * @param etag - Strong entity tag with its quotes.
 * @param size - Bytes of the whole representation.
 */
export function selectRepresentation(
  method: string,
  headers: ConditionalHeaders,
  etag: string,
  size: number,
): Selection {
  const { ifMatch, ifNoneMatch, ifRange, range } = headers
  if (ifMatch !== undefined && !lists(ifMatch, etag, false)) return { status: 412 }
  if (ifNoneMatch !== undefined && lists(ifNoneMatch, etag, true)) return { status: 304 }
  if (range === undefined || method !== 'GET') return { status: 200 }
  // A date in If-Range never matches: nothing here has a modification time worth trusting.
  if (ifRange !== undefined && ifRange.trim() !== etag) return { status: 200 }
  return selectRange(range.trim(), size)
}

function selectRange(range: string, size: number): Selection {
  if (!/^bytes=/i.test(range) || range.includes(',')) return { status: 200 }
  const found = RANGE_FORM.exec(range)
  const [, first = '', last = ''] = found ?? []
  if (found === null || (first === '' && last === '')) return { status: 416 }
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length === 0 ? { status: 416 } : { status: 206, start: size - length, end: size - 1 }
  }
  // Any number of digits is a position; beyond the end it only means "to the end" (RFC 9110 §14.1.2).
  const start = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  return start >= size || (last !== '' && Number(last) < start) ? { status: 416 } : { status: 206, start, end }
}

/** Whether a list of entity tags has `etag`; weak tags count only where `weak` is allowed. */
function lists(list: string, etag: string, weak: boolean): boolean {
  const trimmed = list.trim()
  if (trimmed === '*' || trimmed === etag) return true
  for (const item of trimmed.split(',')) {
    const tag = item.trim()
    if (tag === etag || (weak && tag === `W/${etag}`)) return true
  }
  return false
}
