import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'

const built = new URL('../dist/index.js', import.meta.url).href

/** What a fresh process answers, the built package imported and its modules counted as they are loaded. */
function answerOf(body: string): unknown {
  const script = `
    import { registerHooks } from 'node:module'
    let noble = 0
    registerHooks({ load(url, context, next) { if (url.includes('@noble')) noble += 1; return next(url, context) } })
    const primitives = await import(${JSON.stringify(built)})
    ${body}
  `
  const env = { ...process.env, KEYTURN_BACKEND: '' }
  return JSON.parse(
    execFileSync(process.execPath, ['--no-warnings', '--input-type=module', '-e', script], { encoding: 'utf8', env }),
  ) as unknown
}

describe('the accelerated backend', () => {
  it('loads noble at the first call that needs it, and not before', () => {
    const [before, digest, after] = answerOf(`
      primitives.sha256(new Uint8Array(3))
      const before = noble
      const digest = primitives.hexEncode(primitives.blake3(new Uint8Array(0)))
      console.log(JSON.stringify([before, digest, noble > before]))
    `) as [number, string, boolean]
    expect(before).toBe(0)
    expect(digest).toBe('af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262')
    expect(after).toBe(true)
  })
})
