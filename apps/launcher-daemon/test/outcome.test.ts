import { LauncherError } from '@keyturn/install-engine'
import { describe, expect, it } from 'vitest'
import { asKeyturnError } from '../src/program/outcome.ts'

describe('asKeyturnError()', () => {
  it('keeps an error that has a code', () => {
    const error = new LauncherError('LA_PERMISSION', 'Not allowed')
    expect(asKeyturnError(error)).toBe(error)
  })

  it('calls a stop a pause, and everything else a bug, with what it was as the cause', () => {
    expect(asKeyturnError(new DOMException('stopped', 'AbortError'))).toMatchObject({ code: 'LA_PAUSED' })
    const cause = new TypeError('x is not a function\u001b[31m')
    const bug = asKeyturnError(cause)
    expect(bug).toMatchObject({ code: 'LA_BUG', kind: 'bug', cause })
    expect(bug.message).not.toContain('\u001b')
    expect(asKeyturnError('a text')).toMatchObject({ code: 'LA_BUG', message: 'a text' })
  })
})
