import { printable } from '@keyturn/primitives'
import { LauncherError } from '../errors.ts'
import type { HttpAnswer } from './http.ts'
import { statusError } from './source.ts'

/** A blob of another length than the manifest says. */
export function sizeError(path: string, wanted: number, found: number): LauncherError {
  return new LauncherError('LA_SIZE', `Cannot fetch "${path}": received ${found} bytes, expected ${wanted}`, {
    details: { wanted, found },
  })
}

/** Answers to a range that say nothing against the file itself: the same file may come whole. */
const RANGE_REFUSALS: ReadonlySet<number> = new Set([400, 403, 405, 406, 412, 416, 417, 501])

/** A server that cannot or will not serve a part. */
export function rangeError(path: string, problem: string): LauncherError {
  return new LauncherError('LA_RANGE', `Cannot fetch a part of "${path}": ${problem}`)
}

/** Where the bytes of a part begin in the file, by what the server says of them. */
export function startOfPart(
  answer: HttpAnswer,
  path: string,
  wanted: { start: number; end: number; size: number },
): number {
  if (answer.status === 200) {
    const length = answer.headers.get('content-length')
    if (length !== null && Number(length) !== wanted.size) throw sizeError(path, wanted.size, Number(length))
    return 0
  }
  if (RANGE_REFUSALS.has(answer.status)) throw rangeError(path, `the server answers ${answer.status}`)
  if (answer.status !== 206) throw statusError(answer.status, path)
  const said = answer.headers.get('content-range') ?? ''
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(said)
  const [start, last, size] = match === null ? [] : [Number(match[1]), Number(match[2]), match[3]]
  const isRight = start === wanted.start && last === wanted.end - 1 && (size === '*' || Number(size) === wanted.size)
  if (!isRight)
    throw rangeError(
      path,
      `expected bytes ${wanted.start} to ${wanted.end - 1}, the server says "${printable(said, 60)}"`,
    )
  return start
}
