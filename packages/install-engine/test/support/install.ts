import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'
import { createEngine } from '../../src/index.ts'
import type { Engine, EngineEvent, EngineOptions, Fetch } from '../../src/index.ts'
import { NOW } from './publisher.ts'
import type { Publisher, Tree } from './publisher.ts'

const made: string[] = []
afterEach(async () => {
  for (const folder of made.splice(0)) await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
})

/** A folder that is removed after the test; `fast`: in memory where the system has that. */
export async function temporaryFolder(kind: 'disk' | 'fast' = 'disk'): Promise<string> {
  const base = kind === 'fast' && existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
  const folder = await mkdtemp(join(base, 'keyturn-launcher-'))
  made.push(folder)
  return folder
}

/** One request that was served. */
export interface Served {
  readonly path: string
  readonly range: string | undefined
  bytes: number
}

/** A body as a network brings it. */
function inPieces(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close()
      controller.enqueue(bytes.slice(at, at + 65_536))
      at += 65_536
    },
  })
}

/** A static server in memory, with single ranges. */
export function treeFetch(tree: Tree, served: Served[] = []): Fetch {
  return async (url, init) => {
    init.signal?.throwIfAborted()
    const path = decodeURIComponent(new URL(url).pathname.slice(1))
    const headers = new Headers(init.headers)
    const range = headers.get('range') ?? undefined
    const bytes = tree.get(path)
    const entry = { path, range, bytes: 0 }
    served.push(entry)
    if (bytes === undefined) return new Response('not here', { status: 404 })
    const match = range === undefined ? null : /^bytes=(\d+)-(\d+)$/.exec(range)
    if (match === null) {
      entry.bytes = bytes.length
      return new Response(inPieces(bytes), { status: 200, headers: { 'content-length': String(bytes.length) } })
    }
    const [start, end] = [Number(match[1]), Math.min(Number(match[2]) + 1, bytes.length)]
    if (start >= bytes.length) return new Response('', { status: 416 })
    entry.bytes = end - start
    return new Response(inPieces(bytes.slice(start, end)), {
      status: 206,
      headers: { 'content-length': String(end - start), 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` },
    })
  }
}

export const offline: Fetch = () =>
  Promise.reject(
    new TypeError('fetch failed', { cause: Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }) }),
  )

export interface TestEngine {
  readonly engine: Engine
  readonly folder: string
  readonly events: EngineEvent[]
  readonly served: Served[]
}

/** An engine on a publisher's tree, impatient. */
export async function engineFor(
  publisher: Pick<Publisher, 'tree' | 'trust'>,
  options: Partial<EngineOptions> = {},
): Promise<TestEngine> {
  const folder = options.folder ?? (await temporaryFolder())
  const events: EngineEvent[] = []
  const served: Served[] = []
  const engine = createEngine({
    folder,
    server: 'http://releases.test/',
    trust: publisher.trust,
    fetch: treeFetch(publisher.tree, served),
    clock: () => NOW + 60_000,
    retry: { tries: 3, firstPauseMs: 1, longestPauseMs: 5 },
    lockPatienceMs: 50,
    onEvent: (event) => events.push(event),
    ...options,
  })
  return { engine, folder, events, served }
}

/** The installed files, without what is the launcher's own. */
export async function installedTree(folder: string): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>()
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
      .slice(folder.length + 1)
      .replaceAll('\\', '/')
    if (path === '.updates' || path.startsWith('.updates/') || entry.isDirectory()) continue
    found.set(path, new Uint8Array(await readFile(join(folder, path))))
  }
  return found
}

/** The same in a form that compares quickly. */
export async function treeText(folder: string): Promise<string> {
  const { createHash } = await import('node:crypto')
  return [...(await installedTree(folder))]
    .map(([path, bytes]) => `${path} ${createHash('sha256').update(bytes).digest('hex')}`)
    .sort()
    .join('\n')
}

export function expectedText(files: ReadonlyMap<string, Uint8Array>, hash: (bytes: Uint8Array) => string): string {
  return [...files]
    .map(([path, bytes]) => `${path} ${hash(bytes)}`)
    .sort()
    .join('\n')
}
