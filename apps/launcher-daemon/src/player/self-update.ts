import { createHash } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createEngine } from '@keyturn/install-engine'
import type { Engine, EngineOptions } from '@keyturn/install-engine'
import { isRecord, parseStrictJson } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { PlayerConfig } from '../player-config.ts'
import { LAUNCHER_CHANNEL } from '../launcher-channel.ts'
import { confirmBundle, readPointer, writePointer } from './bundle-pointer.ts'
import type { Build, Pointer } from './bundle-pointer.ts'

/** What an update of the launcher itself needs. */
export interface SelfUpdateOptions {
  readonly config: PlayerConfig
  /** The launcher's own folder. */
  readonly folder: string
  /** The bundle that runs; `undefined`: the one inside the executable. */
  readonly runningSha256: string | undefined
  /** Seams for tests. */
  readonly engine?: Partial<EngineOptions> | undefined
}

/** The file of a launcher release. */
export const BUNDLE_FILE = 'player.cjs'
/** Says which Node the bundle needs: `{"node":24}`. */
export const NODE_FILE = 'node.json'

/** Names of bundles and pointers until they are whole. */
const UNFINISHED = /^\.([0-9a-f]{64}\.cjs|current\.json)\.[0-9a-f]{12}\.tmp$/

/**
 * Keeps the launcher itself up to date. The launcher is an install like any other, on channel `launcher` of the same
 * server, identity and pin: signatures, floors, rollouts and withdrawal hold for it too. The running bundle is never
 * overwritten; the next start takes the new one, and two starts that do not live go back to the one before.
 */
export class SelfUpdate {
  readonly #options: SelfUpdateOptions
  readonly #engine: Engine
  readonly #stop = new AbortController()
  #work: Promise<unknown> | undefined

  constructor(options: SelfUpdateOptions) {
    this.#options = options
    const { config, folder } = options
    this.#engine = createEngine({
      folder: join(folder, 'install'),
      server: config.server,
      trust: config.trust,
      product: config.product,
      channel: LAUNCHER_CHANNEL,
      target: config.target,
      ...options.engine,
    })
  }

  /**
   * Fetches the newest launcher and points the next start to it.
   *
   * @returns Whether the next start takes another bundle.
   */
  async check(): Promise<boolean> {
    const work = this.#update()
    this.#work = work.catch(() => undefined)
    return await work
  }

  async #update(): Promise<boolean> {
    const { folder, config } = this.#options
    await this.#removeUnfinished()
    const { version } = await this.#engine.update({ signal: this.#stop.signal })
    await this.#forgetWithdrawn()
    if (version === undefined || !(await this.#fitsNode())) return false
    // These very bytes are the signed ones: what happens to the file afterwards does not matter.
    const bytes = await this.#engine.read(BUNDLE_FILE)
    if (bytes === undefined) return false
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const current = await readPointer(folder)
    if (sha256 === this.#options.runningSha256) return false
    if (sha256 === current?.sha256) return await this.#restore(sha256, bytes)
    await writeFileAtomic(join(folder, `${sha256}.cjs`), bytes)
    const previous = current?.confirmed === true ? buildOf(current) : current?.previous
    const { manifestSha256: manifest } = await this.#engine.status()
    const pointer = { sha256, version, node: config.nodeMajor, manifest, confirmed: false, tries: 0, previous }
    await writePointer(folder, pointer)
    await this.#forgetWithdrawn()
    await this.#removeOthers([sha256, previous?.sha256, this.#options.runningSha256])
    return true
  }

  /** The bundle that is pointed to and does not run failed; or a virus scanner, a cleaner or a disk took its file. */
  async #restore(sha256: string, bytes: Uint8Array): Promise<boolean> {
    const place = join(this.#options.folder, `${sha256}.cjs`)
    const found = await readFile(place).catch(() => undefined)
    if (found !== undefined && Buffer.compare(found, bytes) === 0) return false
    await writeFileAtomic(place, bytes)
    return true
  }

  /** A bundle for another Node comes with a setup of its own; here it could not run. */
  async #fitsNode(): Promise<boolean> {
    const bytes = await this.#engine.read(NODE_FILE)
    if (bytes === undefined) return true
    const value = parseStrictJson(bytes)
    return isRecord(value) && value['node'] === this.#options.config.nodeMajor
  }

  /** What the publisher withdrew is not fallen back to. */
  async #forgetWithdrawn(): Promise<void> {
    const current = await readPointer(this.#options.folder)
    const manifest = current?.previous?.manifest
    if (current === undefined || manifest === undefined) return
    if ((await this.#engine.withdrawn([manifest])).length === 0) return
    await writePointer(this.#options.folder, { ...current, previous: undefined })
    await this.#removeOthers([current.sha256, this.#options.runningSha256])
  }

  /** Says that the bundle which runs works: it served a page or a command. */
  async confirm(): Promise<void> {
    await confirmBundle(this.#options.folder, this.#options.runningSha256)
  }

  /** Ends a download; it goes on at the next start. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#work
  }

  /** Deletes the bundles that neither run nor are pointed to. */
  async #removeOthers(kept: readonly (string | undefined)[]): Promise<void> {
    const { folder } = this.#options
    const bundles = (await readdir(folder)).filter((name) => /^[0-9a-f]{64}\.cjs$/.test(name))
    for (const name of bundles) if (!kept.includes(name.slice(0, 64))) await rm(join(folder, name), { force: true })
  }

  /** Deletes what launchers that were killed had begun to write. */
  async #removeUnfinished(): Promise<void> {
    const { folder } = this.#options
    for (const name of await readdir(folder)) if (UNFINISHED.test(name)) await rm(join(folder, name), { force: true })
  }
}

function buildOf({ sha256, version, node, manifest }: Pointer): Build {
  return { sha256, version, node, manifest }
}
