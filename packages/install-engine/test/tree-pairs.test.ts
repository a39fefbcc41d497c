import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { Dirent } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { foldPath } from '@keyturn/manifest'
import { nodeFileSystem, systemErrorCode } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { faultFileSystem } from '@keyturn/primitives/testing'
import { describe, it } from 'vitest'
import type { UpdateResult } from '../src/index.ts'
import { patienceMs } from './support/campaign.ts'
import { foldingFileSystem, spelledPath, upcase } from './support/folding.ts'
import { foldingMount } from './support/folding-mount.ts'
import { engineFor, offline, temporaryFolder } from './support/install.ts'
import type { Served } from './support/install.ts'
import { Publisher } from './support/publisher.ts'
import { contentOf, Dice, filesOf, hashOf, nextTree, randomPath, randomTree } from './support/random-trees.ts'
import type { RandomTree } from './support/random-trees.ts'
import { tracked } from './support/settled.ts'

const SEED = Number(process.env['KEYTURN_SEED'] ?? '20261130')
const PAIRS = Number(process.env['KEYTURN_TREE_PAIRS'] ?? '40')
/** A real volume is slower: this share of the pairs runs there. */
const SLOWER = Number(process.env['KEYTURN_TREE_PAIRS_SLOWER'] ?? '6')
/** FUSE remembers for a second what it was asked for, each spelling by itself; and so few pairs have to do there. */
const NAME_CACHE_MS = 1_100
const REMEMBERING = Number(process.env['KEYTURN_TREE_PAIRS_REMEMBERING'] ?? '40')
/** How often the driver of a volume may die in a run: exfat-fuse does, now and then. */
const MOST_DEATHS = 20
/** Chains that one publisher makes before the next takes over. */
const CHAINS_PER_PUBLISHER = 40
/** What an update wants free beside the files themselves. */
const RESERVE_BYTES = 16 * 1024 * 1024

/** Where chains run. */
interface Ground {
  /** What a name becomes where names are compared; absent: it stays as it is. */
  readonly fold?: (path: string) => string
  readonly keepsModes: boolean
  folder(): Promise<string>
  system(folder: string): FileSystem
  /** Waits until the system no longer remembers names, sizes and bytes that changed under another spelling. */
  settle?(): Promise<void>
  /** Another volume, after the driver of this one died or damaged it. */
  renew?(): Promise<void>
  /** What is wrong with the volume itself. */
  fault?(): Promise<string | undefined>
}

/** A file on the disk. */
interface Found {
  readonly bytes: Buffer
  readonly mode: number
}

function readDisk(folder: string, below = ''): Map<string, Found> {
  const files = new Map<string, Found>()
  for (const entry of entriesOf(join(folder, below))) {
    const path = below === '' ? entry.name : `${below}/${entry.name}`
    if (path === '.updates') continue
    if (entry.isDirectory()) for (const [name, file] of readDisk(folder, path)) files.set(name, file)
    else files.set(path, { bytes: readFileSync(join(folder, path)), mode: lstatSync(join(folder, path)).mode & 0o777 })
  }
  return files
}

/**
 * In the middle of a change, a system may still take a folder for the file that was there, under the spelling that this
 * test asked for it before.
 */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch (error) {
    if (systemErrorCode(error) === 'ENOTDIR') return []
    throw error
  }
}

function textOf(files: ReadonlyMap<string, Found>): string {
  return [...files]
    .map(([path, { bytes, mode }]) => `${path} ${mode} ${bytes.toString('hex')}`)
    .sort()
    .join('\n')
}

/** What is known after a kill. */
interface Recovery {
  readonly fs: FileSystem
  readonly before: ReadonlyMap<string, Found>
  readonly next: RandomTree
  readonly onEvent: (event: { type: string; code?: string; message?: string }) => void
}

const shown = (bytes: Uint8Array): string =>
  `${bytes.length} bytes from ${JSON.stringify(Buffer.from(bytes.subarray(0, 24)).toString('latin1'))}`

const isMine = ({ bytes }: Found): boolean => bytes.subarray(0, 5).toString() === 'mine '

/** One chain of releases and the install that follows it. */
class Chain {
  readonly #publisher: Publisher
  readonly #ground: Ground
  readonly #dice: Dice
  readonly #log: string[] = []
  #folder = ''
  #installed: RandomTree = new Map()
  #token = 0
  pairs = 0
  kills = 0
  old = 0

  constructor(publisher: Publisher, ground: Ground, dice: Dice) {
    this.#publisher = publisher
    this.#ground = ground
    this.#dice = dice
  }

  /** Makes room for the next one. */
  async remove(): Promise<void> {
    await this.#ground.settle?.()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** What happened so far. */
  get story(): string {
    return this.#log.join('\n')
  }

  async run(): Promise<void> {
    this.#folder = await this.#ground.folder()
    const first = randomTree(this.#dice)
    await this.#publish(first)
    await this.#update(first, false)
    let tree = first
    for (let length = 1 + this.#dice.below(3); length > 0; length--) {
      tree = nextTree(tree, this.#dice)
      await this.#publish(tree)
      if (this.#dice.oneIn(4)) continue // this player sleeps through one release
      for (let change = this.#dice.below(4); change > 0; change--) this.#play()
      await this.#update(tree, this.#dice.oneIn(2))
      this.pairs += 1
    }
    if (this.#dice.oneIn(4)) await this.#goBack()
  }

  async #publish(tree: RandomTree): Promise<void> {
    this.#log.push(
      `release ${[...tree].map(([path, { content, executable }]) => `${path}=${content}${executable ? 'x' : ''}`).join(' ')}`,
    )
    await this.#publisher.release(filesOf(tree))
  }

  /** Something that a player does to the install. */
  #play(): void {
    const dice = this.#dice
    const listed = [...this.#installed.keys()].filter((path) => existsSync(join(this.#folder, path)))
    const path = dice.oneIn(2) || listed.length === 0 ? randomPath(dice) : dice.pick(listed)
    const place =
      this.#ground.fold === undefined ? join(this.#folder, path) : spelledPath(this.#folder, path, this.#ground.fold)
    const act = dice.below(5)
    this.#log.push(
      `player ${['writes', 'writes', 'removes', 'sets the mode of', 'makes a folder of'][act] ?? ''} ${path}`,
    )
    const mine = `mine ${++this.#token}`
    try {
      if (act >= 2 && !existsSync(place)) return
      if (act === 2) rmSync(place, { recursive: true })
      else if (act === 3) return chmodSync(place, lstatSync(place).isDirectory() ? 0o755 : 0o600)
      if (act === 4) {
        rmSync(place, { recursive: true })
        mkdirSync(place)
        writeFileSync(join(place, 'own'), mine)
      } else if (act < 2) {
        mkdirSync(dirname(place), { recursive: true })
        writeFileSync(place, mine)
      }
    } catch {
      this.#log.push('(the system refused)')
    }
  }

  async #update(next: RandomTree, isKilled: boolean): Promise<void> {
    await this.#ground.settle?.()
    const before = readDisk(this.#folder)
    const served: Served[] = []
    const isTight = this.#dice.oneIn(8)
    const system = this.#ground.system(this.#folder)
    const fs = isTight ? tight(system, this.#folder, next) : system
    const options = { folder: this.#folder, lowSpace: isTight, logFile: false, lockPatienceMs: 0 }
    const asides: UpdateResult['setAside'][number][] = []
    const onEvent = (event: { type: string; code?: string; message?: string }): void => {
      const match = event.code === 'LA_SET_ASIDE' ? /^"(.*)" is yours .* now "(.*)"$/s.exec(event.message ?? '') : null
      if (match !== null) asides.push({ path: match[1] as string, to: match[2] as string })
    }
    if (isKilled) {
      const at = this.#dice.below(90)
      const under = tracked(fs)
      const dying = faultFileSystem({ plan: { at, mode: 'crash' }, fs: under.fs })
      const run = await engineFor(this.#publisher, { ...options, fs: dying, onEvent })
      await run.engine.update().catch(() => undefined)
      await under.settle()
      served.push(...run.served)
      this.#log.push(`killed at ${at}${dying.fired ? '' : ' (too late)'}`)
      for (const name of ['lock', 'staging.lock']) rmSync(join(this.#folder, '.updates', name), { force: true })
      if (dying.fired && !isTight) await this.#checkRecovery({ fs, before, next, onEvent })
    }
    const run = await engineFor(this.#publisher, { ...options, fs, onEvent })
    const result = await run.engine.update().catch(async (error: { code?: string; cause?: unknown }) => {
      // Too little even for going file by file: nothing may have changed, and with room it goes on.
      if (!isTight || error.code !== 'LA_DISK_FULL')
        return this.#fail(`the update failed: ${String(error)} ${String(error.cause)}`)
      this.#log.push('refused for want of room')
      const isUntouched = textOf(readDisk(this.#folder)) === textOf(before)
      if (!isKilled && !isUntouched) return this.#fail('a refused update changed files')
      const roomy = await engineFor(this.#publisher, { ...options, fs: system, onEvent })
      return await roomy.engine.update().catch((again: unknown) => this.#fail(`with room: ${String(again)}`))
    })
    served.push(...run.served)
    this.#log.push(`update: ${result.outcome}${isTight ? ', low space' : ''}`)
    await this.#ground.settle?.()
    const after = this.#checkInstalled(next)
    this.#checkMine(before, after, next, asides)
    this.#checkOwn()
    if (!isTight) this.#checkFetched(before, served)
    this.#installed = next
  }

  /** After a kill, and before anything else: wholly the one or wholly the other. */
  async #checkRecovery({ fs, before, next, onEvent }: Recovery): Promise<void> {
    this.kills += 1
    await this.#ground.settle?.()
    const { engine } = await engineFor(this.#publisher, {
      folder: this.#folder,
      fs,
      fetch: offline,
      logFile: false,
      onEvent,
    })
    await engine.update().catch(() => undefined)
    await this.#ground.settle?.()
    const now = readDisk(this.#folder)
    if (textOf(now) === textOf(before)) {
      this.old += 1
      return
    }
    this.#log.push('recovered forward')
    this.#checkInstalled(next)
  }

  #fold(path: string): string {
    return this.#ground.fold?.(path) ?? path
  }

  #find(files: ReadonlyMap<string, Found>, path: string): [string, Found] | undefined {
    const exact = files.get(path)
    if (exact !== undefined) return [path, exact]
    return [...files].find(([name]) => this.#fold(name) === this.#fold(path))
  }

  /** Every listed file has its bytes, its mode, and its own spelling. */
  #checkInstalled(tree: RandomTree): Map<string, Found> {
    const disk = readDisk(this.#folder)
    for (const [path, file] of tree) {
      const [name, found] = this.#find(disk, path) ?? []
      if (name === undefined || found === undefined) return this.#fail(`${path} is missing`)
      if (!found.bytes.equals(contentOf(file)))
        return this.#fail(`${path} has other bytes: ${shown(found.bytes)}, expected ${shown(contentOf(file))}`)
      if (name.split('/').at(-1) !== path.split('/').at(-1)) return this.#fail(`${path} is spelled ${name}`)
      const mode = file.executable ? 0o755 : 0o644
      if (this.#ground.keepsModes && found.mode !== mode)
        return this.#fail(`${path} has mode ${found.mode.toString(8)}`)
    }
    return disk
  }

  /** Nothing of the player's is gone but changed copies of what the release replaces, and nothing else is left over. */
  #checkMine(
    before: ReadonlyMap<string, Found>,
    after: ReadonlyMap<string, Found>,
    next: RandomTree,
    asides: UpdateResult['setAside'],
  ): void {
    const isListed = (tree: RandomTree, path: string): boolean =>
      [...tree.keys()].some((name) => this.#fold(name) === this.#fold(path))
    const expected = new Map<string, string>()
    for (const [path, file] of before) {
      if (isMine(file) && !(isListed(this.#installed, path) && isListed(next, path)))
        expected.set(file.bytes.toString(), path)
    }
    const fresh = new Set([...next.keys()].map((path) => this.#fold(path)))
    for (const [path, file] of after) {
      if (isMine(file)) {
        const was = expected.get(file.bytes.toString())
        if (was === undefined) return this.#fail(`${path} is kept and need not be`)
        const isNamed = asides.some(({ path: from, to }) => sameFile(path, was.replace(startOf(was, from), to)))
        if (!sameFile(path, was) && !isNamed) return this.#fail(`${was} moved to ${path}, and nobody said so`)
        expected.delete(file.bytes.toString())
      } else if (!fresh.has(this.#fold(path))) {
        return this.#fail(`${path} is left over`)
      }
    }
    if (expected.size > 0) this.#fail(`of the player is gone: ${[...expected.values()].join(', ')}`)
  }

  /** Nothing that the update made for itself is left. */
  #checkOwn(): void {
    const staged = readdirSync(join(this.#folder, '.updates/staging'))
    if (staged.length > 0) this.#fail(`left in staging: ${staged.join(' ')}`)
    if (existsSync(join(this.#folder, '.updates/txn.json'))) this.#fail('the journal is left')
  }

  /** What was on the disk, in a file of the installed release, did not come over the network. */
  #checkFetched(before: ReadonlyMap<string, Found>, served: readonly Served[]): void {
    for (const [path, file] of this.#installed) {
      const found = this.#find(before, path)?.[1]
      if (found === undefined || !found.bytes.equals(contentOf(file))) continue
      if (contentOf(file).length > 0 && served.some((request) => request.path.endsWith(`/${hashOf(file)}`)))
        this.#fail(`${path} was on the disk and was downloaded again`)
    }
  }

  async #goBack(): Promise<void> {
    const { engine } = await engineFor(this.#publisher, {
      folder: this.#folder,
      fs: this.#ground.system(this.#folder),
      logFile: false,
    })
    const before = JSON.stringify(await engine.status())
    if (!before.includes('"canRollBack":true')) return
    await engine.rollback().catch((error: unknown) => this.#fail(`going back failed: ${String(error)}`))
    await engine.repair().catch((error: unknown) => this.#fail(`the repair after going back failed: ${String(error)}`))
  }

  #fail(what: string): never {
    throw new Error(`${what}\non the disk: ${this.#listing()}`)
  }

  /** What is on the disk; where it cannot be read, the system's words, which must not hide what failed. */
  #listing(): string {
    try {
      return [...readDisk(this.#folder).keys()].join(' ')
    } catch (error) {
      return String(error)
    }
  }
}

function sameFile(path: string, other: string): boolean {
  return foldPath(path) === foldPath(other)
}

/** The start of a path that another one names, in the path's own spelling. */
function startOf(path: string, start: string): string {
  const parts = path.split('/').slice(0, start.split('/').length).join('/')
  return foldPath(parts) === foldPath(start) ? parts : '\0'
}

/** Bytes of the files of an install, and of what it stages and keeps. */
function usedBytes(folder: string): number {
  const kept = ['.updates/staging', '.updates/backup'].flatMap((below) =>
    existsSync(join(folder, below))
      ? readdirSync(join(folder, below), { recursive: true, encoding: 'utf8' }).map((name) => `${below}/${name}`)
      : [],
  )
  const sizes = kept.map((name) => lstatSync(join(folder, name))).filter((found) => found.isFile())
  const installed = [...readDisk(folder).values()].map(({ bytes }) => bytes.length)
  return [...sizes.map(({ size }) => size), ...installed].reduce((sum, size) => sum + size, 0)
}

/** A volume on which old and new do not quite fit together; what goes makes room for what comes. */
function tight(fs: FileSystem, folder: string, tree: RandomTree): FileSystem {
  const fresh = [...tree.values()].reduce((sum, file) => sum + contentOf(file).length, 0)
  const capacity = RESERVE_BYTES + usedBytes(folder) + fresh - 1
  const statfs = async (path: string) => {
    const bavail = Math.max(0, capacity - usedBytes(folder))
    return { ...(await fs.statfs(path)), bsize: 1, blocks: 1e12, bavail }
  }
  return { ...fs, statfs: statfs as unknown as FileSystem['statfs'] }
}

/** Whether a failure is the driver's: it died, or a check of the volume finds damage that no program can do. */
async function driverFault(ground: Ground, error: unknown): Promise<string | undefined> {
  if (String(error).includes('ENOTCONN')) return 'died'
  const fault = await ground.fault?.().catch(() => undefined)
  return fault === undefined ? undefined : `damaged it (${String(error)}; ${fault})`
}

async function runPairs(ground: Ground, salt: number, count = PAIRS): Promise<void> {
  let [pairs, kills, old, deaths] = [0, 0, 0, 0]
  let publisher: Publisher | undefined
  for (let index = 0; pairs < count; index++) {
    if (publisher === undefined || index % CHAINS_PER_PUBLISHER === 0) publisher = await Publisher.create()
    const seed = SEED + index * 7919 + salt
    const chain = new Chain(publisher, ground, new Dice(seed))
    try {
      await chain.run()
      await chain.remove()
    } catch (error) {
      const fault = await driverFault(ground, error)
      const where = `chain ${index} of seed ${SEED}, after ${pairs} pairs`
      if (ground.renew !== undefined && deaths < MOST_DEATHS && fault !== undefined) {
        deaths += 1
        console.log(`${where}: the driver of the volume ${fault}; on with another volume`)
        await ground.renew()
        continue
      }
      const message = error instanceof Error ? error.message : String(error)
      throw new Error(`${where}: ${message}\n${chain.story}`, { cause: error })
    }
    pairs += chain.pairs
    kills += chain.kills
    old += chain.old
  }
  console.log(`seed ${SEED}: ${pairs} pairs of trees, ${kills} kills (${old} old, ${kills - old} new afterwards)`)
}

describe('update() over random pairs and chains of trees, with changes by the player and kills in between,', () => {
  it(
    'ends like a fresh install on a file system that tells names apart (row 306)',
    async () => {
      const folder = (): Promise<string> => temporaryFolder('fast')
      await runPairs({ keepsModes: true, folder, system: () => nodeFileSystem }, 0)
    },
    patienceMs,
  )

  it(
    'ends like a fresh install on a file system that folds names (row 306)',
    async () => {
      const folder = (): Promise<string> => temporaryFolder('fast')
      await runPairs({ fold: foldPath, keepsModes: true, folder, system: foldingFileSystem }, 1)
    },
    patienceMs,
  )

  it(
    'ends like a fresh install on a real volume that folds names (row 306)',
    async ({ skip, onTestFinished }) => {
      const found = await foldingMount(false)
      if ('reason' in found) {
        console.log(`no folding volume here: ${found.reason}`)
        return skip(found.reason)
      }
      let mount = found
      onTestFinished(() => mount.unmount())
      console.log(`on ${mount.kind}`)
      const ground = {
        fold: upcase,
        keepsModes: false,
        folder: () => mount.folder(),
        system: () => nodeFileSystem,
        settle: () => mount.forget(),
        fault: () => mount.fault(),
        renew: async () => {
          await mount.unmount()
          const next = await foldingMount(false)
          if ('reason' in next) throw new Error(next.reason)
          mount = next
        },
      }
      await runPairs(ground, 2, Math.ceil(PAIRS / SLOWER))
    },
    patienceMs,
  )

  it(
    'ends like a fresh install on one whose system remembers names for a second (row 306)',
    async ({ skip, onTestFinished }) => {
      const mount = await foldingMount()
      if ('reason' in mount) {
        console.log(`no folding volume here: ${mount.reason}`)
        return skip(mount.reason)
      }
      onTestFinished(mount.unmount)
      console.log(`on ${mount.kind}`)
      const folder = (): Promise<string> => mount.folder()
      const settle = (): Promise<void> => sleep(NAME_CACHE_MS)
      const ground = { fold: upcase, keepsModes: false, folder, system: () => nodeFileSystem, settle }
      await runPairs(ground, 3, Math.ceil(PAIRS / REMEMBERING))
    },
    patienceMs,
  )
})
