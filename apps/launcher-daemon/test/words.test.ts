import { manifestErrors } from '@keyturn/manifest'
import { runtimeKeyErrors } from '@keyturn/runtime-key'
import { describe, expect, it } from 'vitest'
import { launcherErrors } from '@keyturn/install-engine'
import { loadPage } from '../src/page/load-page.ts'
import { chooseLanguage, english, errorWord, isWord, LANGUAGE_NAMES, word } from '../src/page/words.ts'
import type { Word, Words } from '../src/page/words.ts'

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
    expect(errorWord({ code: 'MAN_LAUNCHER_TOO_OLD', kind: 'policy' })).toBe('error.tooOld')
  })

  it('name each error', () => {
    for (const [code, { kind }] of Object.entries({ ...launcherErrors, ...manifestErrors, ...runtimeKeyErrors }))
      expect(isWord(errorWord({ code, kind }))).toBe(true)
    expect(word(english, 'trust.older', { version: '1' })).toBe('Genuine. The newest known version is 1.')
  })

  const places = (text: string): string[] => (text.match(/\{\w+\}/g) ?? []).toSorted()
  const others = Object.keys(LANGUAGE_NAMES).filter((language) => language !== 'en')

  it.each(others)('are all there in %s, with the same places, none empty, and they fit', async (language) => {
    const { words } = (await import(`../src/page/words-${language}.ts`)) as { words: Words }
    expect(Object.keys(words)).toEqual(Object.keys(english))
    for (const [name, text] of Object.entries(words)) {
      const source = english[name as Word]
      expect(places(text), name).toEqual(places(source))
      expect(text.trim(), name).not.toBe('')
      expect(text.length, `${name}: ${text}`).toBeLessThanOrEqual(Math.max(16, source.length * 2))
    }
  })

  it('say nothing of keys, trust, manifests or heads outside the details', () => {
    const details = /^(trust|key)/
    const jargon = /\b(key|trust|manifest|head|signature|signed|channel|epoch|release)\b/i
    const spoken = Object.entries(english).filter(([name]) => !details.test(name) && name !== 'channel')
    expect(spoken.filter(([, text]) => jargon.test(text.replaceAll(/\{\w+\}/g, '')))).toEqual([])
  })

  it('are served to the page for every language', async () => {
    const page = await loadPage()
    for (const language of others) expect(page.get(`/words-${language}.js`)?.body).toContain('export const words')
  })

  it('begin in a language that the player reads and the studio offers', () => {
    expect(chooseLanguage(['de-AT', 'en'], [])).toBe('de')
    expect(chooseLanguage(['pt-PT'], [])).toBe('pt-BR')
    expect(chooseLanguage(['zh-CN'], [])).toBe('zh-Hans')
    expect(chooseLanguage(['sk', 'en'], [])).toBe('cs')
    expect(chooseLanguage(['de'], ['fr', 'en'])).toBe('fr')
    expect(chooseLanguage(['xx', 'en'], ['fr', 'en'])).toBe('en')
    expect(chooseLanguage([], [])).toBe('en')
    expect(chooseLanguage(['constructor', '__proto__'], [])).toBe('en')
  })
})
