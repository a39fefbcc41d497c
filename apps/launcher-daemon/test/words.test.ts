import { manifestErrors } from '@keyturn/manifest'
import { runtimeKeyErrors } from '@keyturn/runtime-key'
import { describe, expect, it } from 'vitest'
import { launcherErrors } from '@keyturn/install-engine'
import { errorWord, isWord, word } from '../src/page/words.ts'

describe('the words of the page', () => {
  it('speak of a signature only where one is wrong, of the server’s offer only where it is to blame', () => {
    const said = (codes: Readonly<Record<string, { kind: string }>>, wanted: string): string[] =>
      Object.entries(codes)
        .filter(([code, { kind }]) => errorWord({ code, kind }) === wanted)
        .map(([code]) => code)
    expect(said(launcherErrors, 'error.refused')).toEqual(['LA_BARRED'])
    expect(said(launcherErrors, 'error.policy')).toEqual([])
    expect(said(launcherErrors, 'error.busy')).toEqual(['LA_LOCKED'])
    expect(said(manifestErrors, 'error.refused')).toContain('MAN_SIGNATURE')
    expect(said(manifestErrors, 'error.refused')).not.toContain('MAN_ROLLBACK')
    expect(said(manifestErrors, 'error.policy')).toContain('MAN_ROLLBACK')
    expect(said(runtimeKeyErrors, 'error.key')).toContain('RK_REFUSED')
    expect(errorWord({ code: 'LA_UNFINISHED', kind: 'policy' })).toBe('error.half')
    expect(errorWord({ code: 'constructor', kind: 'bug' })).toBe('error.other')
  })

  it('are there in both languages, with the same places', () => {
    for (const [code, { kind }] of Object.entries({ ...launcherErrors, ...manifestErrors, ...runtimeKeyErrors })) {
      const name = errorWord({ code, kind })
      expect(isWord(name)).toBe(true)
      expect(word('cs', name)).not.toBe(word('en', name))
    }
    for (const name of ['release', 'figures', 'rate', 'left', 'trust.older', 'unfinished'] as const) {
      const places = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).sort()
      expect(places(word('cs', name))).toEqual(places(word('en', name)))
    }
    expect(word('en', 'trust.older', { version: '1' })).toBe(
      'Verified: it comes from its publisher. The newest known release is 1.',
    )
  })
})
