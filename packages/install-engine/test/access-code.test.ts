import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { defaultHttpLimits, HttpClient } from '../src/fetch/http.ts'
import { defaultRetryPolicy, Source } from '../src/fetch/source.ts'
import { toEngineOptions, withAccessCode } from '../src/install-settings.ts'
import { parseAccessCode, parseSettings, readAccessCode } from '../src/settings.ts'

const code = 'abcde-fghjk-23456'

interface Seen {
  readonly url: string
  readonly code: string | null
}

/** A source whose server answers with `status`, and what every host was asked with. */
function sourceOf(status: number, accessCode: string | undefined): { source: Source; seen: Seen[] } {
  const seen: Seen[] = []
  const fetch = async (url: string, init: { headers?: HeadersInit }): Promise<Response> => {
    seen.push({ url, code: new Headers(init.headers).get('keyturn-access') })
    return new Response('x', { status: url.startsWith('https://mirror') ? 404 : status })
  }
  const client = new HttpClient(fetch as never, defaultHttpLimits, () => 0)
  const source = new Source('https://server.example/', client, {
    retry: { ...defaultRetryPolicy, tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
    random: (size) => new Uint8Array(size),
    monotonic: () => 0,
    accessCode,
  })
  source.setMirrors([{ url: 'https://mirror.example/', weight: 1 }])
  return { source, seen }
}

describe('the access code of a channel', () => {
  it('goes to the server alone, with documents only', async () => {
    const { source, seen } = sourceOf(200, code)
    await source.document('channels/beta/head.json', 100)
    await source.document('channels/beta/head.json', 100, { host: 'https://mirror.example/' })
    await source.fetch('files/ab/cd', async () => undefined)
    expect(seen).toEqual([
      { url: 'https://server.example/channels/beta/head.json', code },
      { url: 'https://mirror.example/channels/beta/head.json', code: null },
      { url: 'https://server.example/files/ab/cd', code: null },
    ])
  })

  it('is asked for where it is missing or wrong, and no mirror is tried instead: LA_ACCESS', async () => {
    for (const given of [undefined, code]) {
      const { source, seen } = sourceOf(403, given)
      await expect(source.document('channels/beta/head.json', 100)).rejects.toMatchObject({ code: 'LA_ACCESS' })
      expect(seen).toHaveLength(1)
    }
    const { source } = sourceOf(403, undefined)
    await expect(
      source.fetch('files/ab/cd', async ({ status }) => {
        throw new Error(`status ${status}`)
      }),
    ).rejects.not.toMatchObject({ code: 'LA_ACCESS' })
  })

  it('is kept for its channel and given to the engine for no other', () => {
    const settings = { server: 'https://server.example/', trust: 'key:00', channel: 'beta' }
    const kept = { ...settings, accessCodes: withAccessCode(settings, code).accessCodes }
    expect(kept.accessCodes).toEqual({ beta: code })
    expect(withAccessCode(kept, undefined)).toBe(kept)
    expect(toEngineOptions('x', kept).accessCode).toBe(code)
    expect(toEngineOptions('x', { ...kept, channel: 'stable' }).accessCode).toBeUndefined()
    expect(parseSettings(kept)).toEqual(kept)
    for (const wrong of [{ Beta: code }, { beta: 'short' }, { beta: 'with a space' }, ['x']])
      expect(() => parseSettings({ accessCodes: wrong })).toThrow(expect.objectContaining({ code: 'LA_SETTINGS' }))
  })

  it('is read from a file that holds it alone', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keyturn-code-'))
    try {
      await writeFile(join(folder, 'code'), `${code}\n`)
      expect(await readAccessCode(join(folder, 'code'))).toBe(code)
      await writeFile(join(folder, 'long'), 'x'.repeat(5000))
      for (const name of ['missing', 'long'])
        await expect(readAccessCode(join(folder, name))).rejects.toMatchObject({ code: 'LA_SETTINGS' })
      expect(() => parseAccessCode('two words here')).toThrow(expect.objectContaining({ code: 'LA_SETTINGS' }))
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
