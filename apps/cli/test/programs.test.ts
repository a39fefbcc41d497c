import { execFileSync, spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { exitCodes } from '@keyturn/primitives'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const DIST = fileURLToPath(new URL('../dist/', import.meta.url))
const PROGRAMS = join(DIST, 'programs')
const texts = readdirSync(PROGRAMS)
  .filter((name) => name.endsWith('.js'))
  .map((name) => readFileSync(join(PROGRAMS, name), 'utf8'))

/** Prints how many files a program loads. */
const COUNT = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module'
  let count = 0
  registerHooks({ load(url, context, next) { if (url.startsWith('file:')) count += 1; return next(url, context) } })
  process.on('exit', () => process.stderr.write('files ' + count))
`)}`

describe('the bundled programs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-programs-'))
  const home = join(folder, 'home')
  const words = ['status', '--json', '--home', home]
  beforeAll(() => {
    const passphrase = join(folder, 'passphrase')
    writeFileSync(passphrase, 'test\n', { mode: 0o600 })
    execFileSync(process.execPath, [
      join(PROGRAMS, 'keyturn.js'),
      'init',
      '--quiet',
      '--home',
      home,
      '--passphrase-file',
      passphrase,
    ])
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it('keyturn answers as the modules it is made of, from a tenth of their files', () => {
    const run = (main: string): { stdout: string; files: number } => {
      const { stdout, stderr } = spawnSync(process.execPath, ['--import', COUNT, main, ...words], { encoding: 'utf8' })
      return { stdout: stdout.replace(/"now":\s*"[^"]*"/, ''), files: Number(/files (\d+)$/.exec(stderr)?.[1]) }
    }
    const modules = run(join(DIST, 'main.js'))
    const bundled = run(join(PROGRAMS, 'keyturn.js'))
    expect(JSON.parse(bundled.stdout)).toEqual(JSON.parse(modules.stdout))
    expect(bundled.files).toBeLessThan(80)
    expect(modules.files).toBeGreaterThan(300)
  })

  it.runIf(process.platform === 'linux').each(['keyturn.js', 'm2pack.js'])(
    '%s --version says what is wrong with a standard output that is full',
    (program) => {
      const full = openSync('/dev/full', 'w')
      try {
        const run = spawnSync(process.execPath, [join(PROGRAMS, program), '--version'], {
          stdio: ['ignore', full, 'pipe'],
          encoding: 'utf8',
        })
        expect([run.status, run.stderr]).toEqual([
          exitCodes.io,
          expect.stringMatching(/^error: Cannot write .*\n {2}CLI_IO/),
        ])
      } finally {
        closeSync(full)
      }
    },
  )

  it.each(['keyturn.js', 'm2pack.js'])('%s --version loads next to nothing', (program) => {
    const run = spawnSync(process.execPath, ['--import', COUNT, join(PROGRAMS, program), '--version'], {
      encoding: 'utf8',
    })
    expect(run.stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(Number(/files (\d+)$/.exec(run.stderr)?.[1])).toBeLessThan(6)
  })

  it('can be read: not minified, each module under its path', () => {
    const regions = texts.flatMap((text) => [...text.matchAll(/^\/\/ (\S+)$/gm)].map(([, path = '']) => path))
    expect(regions.length).toBeGreaterThan(600)
    expect(
      texts
        .join('\n')
        .split('\n')
        .filter((line) => line.length > 2000),
    ).toHaveLength(1) // what a file exports
  })

  it('come with the license of each library inside', () => {
    const inside = new Set(
      texts.flatMap((text) =>
        [...text.matchAll(/^\/\/ \S*node_modules\/((?:@[^/\s]+\/)?[^/@.\s][^/\s]*)\/(?!node_modules)\S+$/gm)].map(
          ([, name = '']) => name,
        ),
      ),
    )
    const licenses = `\n${readFileSync(join(PROGRAMS, 'LICENSES.txt'), 'utf8')}`
    expect(inside).toContain('commander')
    for (const name of inside) expect(licenses).toContain(`\n${name} `)
  })

  it('leave native modules, the server and the MCP library outside', () => {
    for (const text of texts)
      expect(text).not.toMatch(
        /^\/\/ \S*node_modules\/(?:sodium-native|fastify|pg|koffi|@napi-rs|@modelcontextprotocol)\//,
      )
  })
})
