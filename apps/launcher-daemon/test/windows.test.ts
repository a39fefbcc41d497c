import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectedText, temporaryFolder, treeText } from '../../../packages/install-engine/test/support/install.ts'
import { LyingServer } from '../../../packages/install-engine/test/support/lying-server.ts'
import { contentKey, noise, Publisher, sha256Hex } from '../../../packages/install-engine/test/support/publisher.ts'
import type { MadeRelease } from '../../../packages/install-engine/test/support/publisher.ts'

const main = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const receiver = fileURLToPath(new URL('../../../packages/runtime-key/c/example.c', import.meta.url))
/** A `node.exe`; which one, docs/decisions/0076-windows-by-wine.md says. */
const windowsNode = process.env['KEYTURN_WINDOWS_NODE'] ?? ''
const compiler = 'x86_64-w64-mingw32-gcc'
const works = (file: string, ...args: string[]): boolean =>
  spawnSync(file, args, { stdio: 'ignore', timeout: 120_000 }).status === 0
const hasTools = process.platform === 'linux' && works('which', 'wine') && works(compiler, '--version')
const isReady = hasTools && existsSync(windowsNode) && existsSync(main)
if (!isReady)
  console.info(
    'Windows: skipped; set KEYTURN_WINDOWS_NODE to a node.exe that this machine’s wine can run, and install wine64 ' +
      'and mingw-w64',
  )

/** Holds a file open for itself alone until another file appears. */
const holdSource = `
#include <windows.h>
#include <stdio.h>
int main(int count, char **names) {
  char go[1024];
  HANDLE file = CreateFileA(names[1], GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
  if (count != 3 || file == INVALID_HANDLE_VALUE) return 2;
  CloseHandle(CreateFileA(names[2], GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL));
  snprintf(go, sizeof go, "%s.go", names[2]);
  while (GetFileAttributesA(go) == INVALID_FILE_ATTRIBUTES) Sleep(50);
  return 0;
}
`

let workshop: string
let wine: Record<string, string>
let server: LyingServer
let address: string
let publisher: Publisher
let exe: Uint8Array

function windowsPath(path: string): string {
  return `Z:${path.replaceAll('/', '\\')}`
}

interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly json: { ok: boolean; data: Record<string, unknown>; error?: { code: string } }
}

/**
 * Koffi is not a dependency: anyone who wants named mappings installs it. Here it is beside the `node.exe`, or
 * nowhere.
 */
function koffiHook(folder: string): string {
  const entry = join(folder, 'koffi', 'index.js')
  const url = `file:///Z:${entry}`
  return `data:text/javascript,${encodeURIComponent(`import { registerHooks } from 'node:module'; registerHooks({ resolve: (name, context, next) => next(name === 'koffi' ? '${url}' : name, context) })`)}`
}
const modules = join(windowsNode, '../../..')
const hasKoffi = isReady && existsSync(join(modules, 'koffi', 'index.js'))

/** Wine has no pipes that Node takes for its output, so both go to files. */
async function run(folder: string, args: readonly string[], env: Record<string, string> = {}): Promise<Run> {
  const [out, err] = [join(folder, 'out.txt'), join(folder, 'err.txt')]
  const handles = [openSync(out, 'w'), openSync(err, 'w')] as const
  const child = spawn(
    'wine',
    [windowsNode, ...(hasKoffi ? ['--import', koffiHook(modules)] : []), windowsPath(main), ...args],
    { env: { ...wine, ...env }, stdio: ['ignore', ...handles] },
  )
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  for (const handle of handles) closeSync(handle)
  const [stdout, stderr] = [await readFile(out, 'utf8'), await readFile(err, 'utf8')]
  return {
    code,
    stdout,
    stderr,
    json: (stdout.startsWith('{') ? JSON.parse(stdout.split('\n')[0] ?? '') : {}) as Run['json'],
  }
}

describe.skipIf(!isReady)('keyturn-launcher under Windows', () => {
  beforeAll(async () => {
    workshop = await mkdtemp(join(tmpdir(), 'keyturn-wine-'))
    const folder = workshop
    wine = {
      PATH: process.env['PATH'] ?? '',
      HOME: folder,
      WINEPREFIX: join(folder, 'prefix'),
      WINEDEBUG: '-all',
      WINEDLLOVERRIDES: 'mscoree,mshtml=',
    }
    execFileSync('wine', ['winecfg', '-v', 'win10'], { env: wine, stdio: 'ignore', timeout: 240_000 })
    execFileSync(compiler, ['-O2', receiver, '-o', join(folder, 'client.exe')])
    await writeFile(join(folder, 'hold.c'), holdSource)
    execFileSync(compiler, ['-O2', join(folder, 'hold.c'), '-o', join(folder, 'hold.exe')])
    exe = new Uint8Array(await readFile(join(folder, 'client.exe')))
    publisher = await Publisher.create()
    publisher.nowMs = Date.now() - 60_000
    server = new LyingServer(() => publisher.tree)
    address = await server.listen()
  }, 300_000)
  afterAll(async () => {
    await server?.close()
    spawnSync('wineserver', ['-k', '-w'], { env: wine, stdio: 'ignore', timeout: 60_000 })
    await rm(workshop, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
  })

  const key = contentKey(4)
  const files = (edition: string) => ({
    'Metin2.exe': exe,
    'runtime-key.json': key.json,
    'pack/a.bin': noise(1_200_000, 3),
    'data/edition.txt': edition,
  })
  const release = (edition: string): Promise<MadeRelease> =>
    publisher.release(files(edition), { format: 'm2pack', place: { contentKeys: [key.entry] } })

  it('installs, updates and starts the client, which takes its key by the C receiver', async () => {
    const first = await release('one')
    const dir = await temporaryFolder()
    const home = await temporaryFolder()
    const flags = ['--dir', windowsPath(dir), '--json']
    const installed = await run(home, ['update', ...flags, '--server', address, '--trust', publisher.trust])
    expect(installed.json, installed.stdout + installed.stderr).toMatchObject({
      ok: true,
      data: { outcome: 'updated', version: first.model.version },
    })
    expect(await treeText(dir)).toBe(expectedText(first.files, sha256Hex))
    const started = await run(home, ['launch', ...flags])
    expect(started.json, started.stdout + started.stderr).toMatchObject({ ok: true, data: { client_exit_code: 0 } })
    expect(started.stderr).toContain('key_id 4 sum ')
    if (hasKoffi) {
      const mapped = await run(home, ['launch', ...flags, '--offline', '--delivery', 'shared-memory'])
      expect(mapped.json, mapped.stdout + mapped.stderr).toMatchObject({ ok: true, data: { client_exit_code: 0 } })
      expect(mapped.stderr).toContain('key_id 4 sum ')
    } else {
      console.info('Windows: the named mapping is not tried, koffi is not beside node.exe')
    }
    const byFd = await run(home, ['launch', ...flags, '--offline', '--delivery', 'fd'])
    expect(byFd.json, byFd.stdout + byFd.stderr).toMatchObject({ ok: true, data: { client_exit_code: 0 } })
    expect(byFd.stderr).toContain('key_id 4 sum ')
    const second = await release('two')
    await writeFile(join(dir, 'mine.cfg'), 'mine')
    expect((await run(home, ['update', ...flags])).json).toMatchObject({
      data: { outcome: 'updated', version: second.model.version },
    })
    expect(await readFile(join(dir, 'data/edition.txt'), 'utf8')).toBe('two')
    expect((await run(home, ['rollback', ...flags])).json).toMatchObject({ ok: true })
    expect(await readFile(join(dir, 'data/edition.txt'), 'utf8')).toBe('one')
  }, 300_000)

  it('undoes an update whose file another program holds open, and takes it once that lets go (row 214)', async () => {
    const first = await release('three')
    const dir = await temporaryFolder()
    const home = await temporaryFolder()
    const flags = ['--dir', windowsPath(dir), '--json']
    expect((await run(home, ['update', ...flags, '--server', address, '--trust', publisher.trust])).json).toMatchObject(
      { ok: true },
    )
    const held = join(home, 'held')
    const holder = spawn(
      'wine',
      [join(workshop, 'hold.exe'), windowsPath(join(dir, 'data/edition.txt')), windowsPath(held)],
      { env: wine, stdio: 'ignore' },
    )
    const gone = new Promise((resolve) => holder.once('close', resolve))
    await expect.poll(() => existsSync(held), { timeout: 60_000 }).toBe(true)
    const second = await release('four')
    const refused = await run(home, ['update', ...flags])
    expect(refused.json, refused.stderr).toMatchObject({ ok: false, error: { code: 'LA_LOCKED' } })
    expect(refused.code).toBe(6)
    await writeFile(`${held}.go`, '')
    await gone
    expect(await treeText(dir)).toBe(expectedText(first.files, sha256Hex))
    expect((await run(home, ['update', ...flags])).json).toMatchObject({ data: { outcome: 'updated' } })
    expect(await treeText(dir)).toBe(expectedText(second.files, sha256Hex))
  }, 300_000)
})
