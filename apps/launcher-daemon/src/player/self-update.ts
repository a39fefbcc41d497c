import { createHash } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { createEngine } from '@keyturn/install-engine'
import type { Engine, EngineOptions } from '@keyturn/install-engine'
import { isRecord, parseStrictJson } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { PlayerConfig } from '../player-config.ts'
import { LAUNCHER_CHANNEL } from '../launcher-channel.ts'

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

interface Build {
  readonly sha256: string
  readonly version: string
  /** Major version of the Node it was made for. */
  readonly node: number
  /** SHA-256 of the manifest it came with; absent in pointers of earlier launchers. */
  readonly manifest?: string | undefined
}

/** `current.json`, which the loader reads. */
interface Pointer extends Build {
  readonly confirmed: boolean
  readonly tries: number
  /** The confirmed build before this one. */
  readonly previous?: Build | undefined
}

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
    const { version } = await this.#engine.update({ signal: this.#stop.signal })
    await this.#forgetWithdrawn()
    if (version === undefined || !(await this.#fitsNode())) return false
    // These very bytes are the signed ones: what happens to the file afterwards does not matter.
    const bytes = await this.#engine.read(BUNDLE_FILE)
    if (bytes === undefined) return false
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    const current = await this.#read()
    if (sha256 === this.#options.runningSha256 || sha256 === current?.sha256) return false
    await writeFileAtomic(join(folder, `${sha256}.cjs`), bytes)
    const previous = current?.confirmed === true ? buildOf(current) : current?.previous
    const { manifestSha256: manifest } = await this.#engine.status()
    await this.#write({ sha256, version, node: config.nodeMajor, manifest, confirmed: false, tries: 0, previous })
    await this.#forgetWithdrawn()
    await this.#removeOthers([sha256, previous?.sha256, this.#options.runningSha256])
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
    const current = await this.#read()
    const manifest = current?.previous?.manifest
    if (current === undefined || manifest === undefined) return
    if ((await this.#engine.withdrawn([manifest])).length === 0) return
    await this.#write({ ...current, previous: undefined })
    await this.#removeOthers([current.sha256, this.#options.runningSha256])
  }

  /** Says that the bundle which runs works: it served a page or a command. */
  async confirm(): Promise<void> {
    const current = await this.#read()
    if (current === undefined || current.confirmed || current.sha256 !== this.#options.runningSha256) return
    await this.#write({ ...current, confirmed: true })
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

  async #read(): Promise<Pointer | undefined> {
    try {
      const value = parseStrictJson(await readFile(join(this.#options.folder, 'current.json')))
      if (!isRecord(value) || typeof value['sha256'] !== 'string') return undefined
      return value as unknown as Pointer
    } catch {
      return undefined
    }
  }

  async #write(pointer: Pointer): Promise<void> {
    await writeFileAtomic(join(this.#options.folder, 'current.json'), Buffer.from(JSON.stringify(pointer)))
  }
}

function buildOf({ sha256, version, node, manifest }: Pointer): Build {
  return { sha256, version, node, manifest }
}
