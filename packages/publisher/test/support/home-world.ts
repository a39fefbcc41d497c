import { createHash } from 'node:crypto'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { createHome } from '../../src/create-home.ts'
import { activeContentKey } from '../../src/home.ts'
import { openHome } from '../../src/home-session.ts'
import type { HomeSession } from '../../src/home-session.ts'
import { packTree } from '../../src/tree/archives.ts'
import { prepareRelease } from '../../src/release/prepare-release.ts'
import { writeRuntimeKeyFile } from '../../src/records/runtime-key-file.ts'
import { issueHead, signRelease } from '../../src/release/sign-release.ts'
import type { PublisherHost } from '../../src/session.ts'

/** One moment for everything: no test depends on how long it takes. */
export const NOW_MS = Date.UTC(2026, 10, 30, 12)
const PASSPHRASE = new TextEncoder().encode('test')

/** Homes in a folder of their own, with a cheap passphrase and no server. */
export class HomeWorld {
  readonly folder: string
  readonly signal = new AbortController().signal
  #cleanUps: (() => void | Promise<void>)[] = []

  private constructor(folder: string) {
    this.folder = folder
  }

  static async create(): Promise<HomeWorld> {
    const world = new HomeWorld(await mkdtemp(join(tmpdir(), 'keyturn-home-')))
    await createHome({
      folder: world.path('home'),
      product: 'test',
      channel: 'stable',
      passphrase: PASSPHRASE,
      nextPassphrase: PASSPHRASE,
      rolesDays: 365,
      clock: () => NOW_MS,
      scryptLogN: 4,
    })
    return world
  }

  path(...parts: readonly string[]): string {
    return join(this.folder, ...parts)
  }

  host(home = 'home'): PublisherHost {
    return {
      homeFolder: this.path(home),
      signal: this.signal,
      clock: () => NOW_MS,
      dryRun: false,
      passphrase: () => Promise.resolve(PASSPHRASE.slice()),
      onStep: () => {},
      warn: () => {},
      defer: (cleanUp) => void this.#cleanUps.push(cleanUp),
    }
  }

  /** Opens a home as a new process would, to change it. */
  async home(name = 'home'): Promise<HomeSession> {
    await this.settle()
    return await openHome(this.host(name), { write: true })
  }

  /** Ends the work of every process so far. */
  async settle(): Promise<void> {
    const cleanUps = this.#cleanUps.toReversed()
    this.#cleanUps = []
    for (const cleanUp of cleanUps) await cleanUp()
  }

  /** A copy of a home. */
  async copy(name: string, from = 'home'): Promise<void> {
    await this.settle()
    await rm(this.path(name), { recursive: true, force: true })
    await cp(this.path(from), this.path(name), { recursive: true })
  }

  /** Packs, prepares and signs a release of two small archives. */
  async release(): Promise<void> {
    const home = await this.home()
    for (const top of ['data', 'sound']) {
      await mkdir(this.path('source', top), { recursive: true })
      await writeFile(this.path('source', top, 'file.txt'), `${top}\n`.repeat(200))
    }
    const tree = this.path('home', 'trees', 'source-tree')
    await packTree(home, { input: this.path('source'), output: tree, signal: this.signal, level: 1, jobs: 1 })
    await writeRuntimeKeyFile(home, tree, activeContentKey(home.description))
    const terms = { nowMs: NOW_MS, signal: this.signal }
    const release = await signRelease(home, await prepareRelease(home, { tree, channel: 'stable', ...terms }))
    await issueHead(home, release, terms)
    await this.settle()
  }

  /** Every file of a home but its journals and lock, with a hash of what is in it. */
  async files(name = 'home'): Promise<ReadonlyMap<string, string>> {
    const root = this.path(name)
    const found = new Map<string, string>()
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      const inside = relative(root, path)
      if (!entry.isFile() || inside.startsWith('journals') || inside.startsWith('lock')) continue
      found.set(
        inside,
        createHash('sha256')
          .update(await readFile(path))
          .digest('hex'),
      )
    }
    return found
  }

  async remove(): Promise<void> {
    await this.settle()
    await rm(this.folder, { recursive: true, force: true })
  }
}
