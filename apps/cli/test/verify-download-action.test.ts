import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { seedSigner } from '@keyturn/kel/owner'
import { verifyDownload } from '@keyturn/manifest'
import { publishFiles, startPublication } from '@keyturn/manifest/publish'
import type { DocumentSigner } from '@keyturn/manifest/publish'
import { ed25519PublicKey, ed25519Sign, systemRandom, utf8Encode } from '@keyturn/primitives'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parse } from 'yaml'

const place = fileURLToPath(new URL('../../../tooling/actions/verify-download', import.meta.url))
const manifestPackage = fileURLToPath(new URL('../../../packages/manifest', import.meta.url))

type Download = (options: Readonly<Record<string, unknown>>) => Promise<unknown>
const { download } = (await import(pathToFileURL(join(place, 'verify-download.mjs')).href)) as { download: Download }

interface Action {
  readonly inputs: Readonly<Record<string, { readonly required?: boolean; readonly default?: string }>>
  readonly runs: { readonly steps: readonly { readonly run: string; readonly env: Readonly<Record<string, string>> }[] }
}
const action = parse(await readFile(join(place, 'action.yml'), 'utf8')) as Action
const [install, verify] = action.runs.steps as [Action['runs']['steps'][number], Action['runs']['steps'][number]]

const newKey = (): DocumentSigner => {
  const seed = systemRandom(32)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}
const keys = { release: newKey(), head: newKey() }
const [first, second] = [seedSigner([systemRandom(32)]), seedSigner([systemRandom(32)])]
const identity = { identity: first, nextIdentity: second.publicKeys }
const { pin, state } = await startPublication('tool', { ...keys, ...identity })
const tool = { path: 'bin/the tool', bytes: utf8Encode('version 1') }
const notes = { path: 'notes.txt', bytes: utf8Encode('read me') }
const one = await publishFiles([tool, notes], keys, state, { version: '1.0.0' })
const better = { ...tool, bytes: utf8Encode('version 2') }
const two = await publishFiles([better, notes], keys, one.state, { version: '2.0.0' })

let folder: string
let server: Server
let served: Map<string, Uint8Array>
const at = (...parts: string[]): string => join(folder, ...parts)

function serve(release: Uint8Array, ...files: readonly { readonly path: string; readonly bytes: Uint8Array }[]): void {
  served = new Map([
    ['/tool/release.json', release],
    ...files.map(({ path, bytes }) => [`/tool/${path}`, bytes] as const),
  ])
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-verify-action-'))
  server = createServer(({ url = '/' }, response) => {
    const bytes = served.get(decodeURIComponent(url))
    if (bytes === undefined) response.writeHead(404).end()
    else response.end(bytes)
  })
  await new Promise<void>((listening) => void server.listen(0, '127.0.0.1', listening))
  serve(one.release, tool, notes)
})
afterEach(async () => {
  server.close()
  await rm(folder, { recursive: true, force: true })
})

const addressOf = (path: string): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`

/** Runs a step as a runner would, `${{ … }}` filled in. */
async function run(
  step: typeof install,
  given: Readonly<Record<string, string>>,
  more: Readonly<Record<string, string>> = {},
): Promise<{ code: unknown; text: string }> {
  const defaults = Object.fromEntries(
    Object.entries(action.inputs).map(([name, { default: text = '' }]) => [name, text]),
  )
  const inputs = { ...defaults, ...given }
  const values: Record<string, string> = { 'runner.temp': folder, 'github.action_path': place }
  for (const [name, text] of Object.entries(inputs)) values[`inputs.${name}`] = text
  const fill = (text: string): string =>
    text.replaceAll(/\$\{\{ *([\w.-]+) *\}\}/g, (_whole, name: string) => {
      if (values[name] === undefined) throw new Error(`Nobody knows ${name}`)
      return values[name]
    })
  const variables = Object.fromEntries(Object.entries(step.env).map(([name, text]) => [name, fill(text)]))
  const child = spawn('bash', ['-eo', 'pipefail', '-c', step.run], {
    cwd: folder,
    env: {
      PATH: `${at('bin')}:${dirname(process.execPath)}:${process.env['PATH']}`,
      HOME: folder,
      ...variables,
      ...more,
    },
  })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => void (text += part))
  const code = await new Promise((resolve) => void child.once('close', resolve))
  return { code, text }
}

const verifyStep = (given: Readonly<Record<string, string>> = {}): ReturnType<typeof run> =>
  run(
    verify,
    { release: addressOf('/tool/release.json'), pin, output: 'out', product: 'tool', version: '1.2.3', ...given },
    { MANIFEST_FOLDER: manifestPackage, GITHUB_OUTPUT: at('output') },
  )

describe('the action that verifies a download', () => {
  it('fetches every file of a release, or those asked for, and tells the version', async () => {
    expect(await verifyStep()).toEqual({ code: 0, text: 'Release 1.0.0: 2 files verified in out\n' })
    expect(await readFile(at('out/bin/the tool'), 'utf8')).toBe('version 1')
    expect(await readFile(at('output'), 'utf8')).toBe('release=1.0.0\n')
    expect((await verifyStep({ output: 'some', files: 'notes.txt\n' })).code).toBe(0)
    expect(await readdir(at('some'))).toEqual(['notes.txt'])
    expect((await stat(at('keyturn-download.json'))).size).toBeGreaterThan(0)
  })

  it('takes the next release and then refuses the one before', async () => {
    await verifyStep()
    serve(two.release, better, notes)
    expect((await verifyStep({ output: 'newer', base: addressOf('/tool') })).code).toBe(0)
    expect(await readFile(at('newer/bin/the tool'), 'utf8')).toBe('version 2')
    serve(one.release, tool, notes)
    const { code, text } = await verifyStep({ output: 'older' })
    expect(code).toBe(1)
    expect(text).toMatch(/^::error::MAN_ROLLBACK: /)
    expect((await verifyStep({ output: 'older', pin: '' })).text).toBe('::error::pin must not be empty\n')
    expect(await readdir(folder)).not.toContain('older')
  })

  it.each<[string, () => void, Readonly<Record<string, string>>, RegExp]>([
    ['a file that was changed', () => serve(one.release, better, notes), {}, /SHA-256/],
    ['a longer file', () => serve(one.release, { ...tool, bytes: utf8Encode('version 1!') }, notes), {}, /more than 9/],
    ['a file that is missing', () => serve(one.release, notes), {}, /status 404/],
    ['a path that the release does not have', () => undefined, { files: 'other' }, /has no file "other"/],
    ['a changed release', () => serve(one.release.slice(0, -9), tool), {}, /release/],
    ['another product', () => undefined, { product: 'other' }, /other/],
    ['an output that exists', () => undefined, { output: '.' }, /is there already/],
  ])('refuses %s, and leaves no file', async (_what, change, given, message) => {
    change()
    const options = { release: addressOf('/tool/release.json'), pin, output: at('out'), state: at('seen.json') }
    await expect(download({ verifyDownload, ...options, ...given })).rejects.toThrow(message)
    expect((await readdir(folder)).filter((name) => name !== 'seen.json')).toEqual([])
  })

  it('installs one exact version without scripts, and verifies signatures and provenance before it is used', async () => {
    await mkdir(at('bin'))
    for (const name of ['npm', 'node'])
      await writeFile(at('bin', name), `#!/bin/sh\necho ${name} "$@" >> "${at('log')}"\n`, { mode: 0o755 })
    for (const version of ['latest', '^1.2.3', '1.2.3; rm -rf x'])
      expect((await run(install, { version, repository: 'a/b' })).code).toBe(2)
    expect((await run(install, { version: '1.2.3', repository: 'a/b' })).code).toBe(0)
    expect((await readFile(at('log'), 'utf8')).split('\n')).toEqual([
      'npm install --ignore-scripts --no-audit --no-fund --save-exact @keyturn/manifest@1.2.3',
      'npm audit signatures',
      `node ${place}/../publish/verify-provenance.mjs ${at('keyturn-manifest')} a/b`,
      '',
    ])
  })
})
