import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** A mounted volume that folds names. */
export interface FoldingMount {
  readonly kind: string
  /** A new folder on it. */
  folder(): Promise<string>
  /** Mounts it again: what the system remembered of names under other spellings is gone. */
  forget(): Promise<void>
  /** What is wrong with the volume itself, which only its driver can have done; nothing without a tool that checks. */
  fault(): Promise<string | undefined>
  unmount(): Promise<void>
}

interface Way {
  readonly kind: string
  readonly make: readonly [string, ...string[]]
  readonly mount: readonly [string, ...string[]]
  readonly check: readonly [string, ...string[]]
}

const OPTIONS = 'umask=000'
/** FUSE remembers names and sizes for a second, each spelling by itself; with these it asks every time. */
const FORGETS = 'entry_timeout=0,attr_timeout=0,negative_timeout=0'
const FORGETTING: Way = {
  kind: 'exFAT by FUSE that remembers no names',
  make: ['mkfs.exfat'],
  mount: ['mount.exfat-fuse', '-o', `${OPTIONS},${FORGETS}`],
  check: ['fsck.exfat', '-n'],
}
const EXFAT = { make: ['mkfs.exfat'], check: ['fsck.exfat', '-n'] } as const
const WAYS: readonly Way[] = [
  { ...EXFAT, kind: 'exFAT by FUSE', mount: ['mount.exfat-fuse', '-o', OPTIONS] },
  { ...EXFAT, kind: 'exFAT', mount: ['mount', '-t', 'exfat', '-o', OPTIONS] },
  {
    kind: 'VFAT',
    make: ['mkfs.vfat', '-F', '32'],
    mount: ['mount', '-t', 'vfat', '-o', `${OPTIONS},utf8`],
    check: ['fsck.vfat', '-n'],
  },
]
const MEMORY = '/dev/shm'
const SIZE_BYTES = 300 * 1024 * 1024
/** A driver may need a moment after its volume was unmounted, and a busy machine makes it long. */
const PATIENCE_MS = 30_000
const PAUSE_MS = 100
const DRIVER_POLL_MS = 5

function tryRun([program, ...args]: readonly [string, ...string[]]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}

/**
 * Runs a command until it works; after a while, says why it does not, and what this process holds open below `place`.
 */
async function runPatiently([program, ...args]: readonly [string, ...string[]], place: string): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += PAUSE_MS) {
    const { status, stderr } = spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] })
    if (status === 0) {
      if (waitedMs > 0) console.log(`${program} of ${place} took ${waitedMs} ms`)
      return
    }
    if (waitedMs >= PATIENCE_MS)
      throw new Error(`${program} of ${place}: ${stderr.trim()}; open: ${openBelow(place).join(' ')}`)
    await sleep(PAUSE_MS)
  }
}

/** Waits until the driver of a volume has ended: it may still write after the volume is unmounted. */
async function driverGone(place: string): Promise<void> {
  const runs = (): boolean =>
    readdirSync('/proc').some((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(place)
      } catch {
        return false // ended meanwhile
      }
    })
  for (let waitedMs = 0; runs() && waitedMs < PATIENCE_MS; waitedMs += DRIVER_POLL_MS) await sleep(DRIVER_POLL_MS)
}

/** Unmounts a volume so that another driver finds all of it. */
async function unmountWhole(place: string): Promise<void> {
  await runPatiently(['umount', place], place)
  await driverGone(place)
}

function openBelow(place: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((name) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${name}`)
      return path.startsWith(place) ? [path] : []
    } catch {
      return [] // closed meanwhile
    }
  })
}

/**
 * Mounts a fresh volume that folds names, by loop; says why where that cannot be done.
 *
 * @param remembersNames - `false`: one whose names a test can make the system forget at once.
 */
export async function foldingMount(remembersNames = true): Promise<FoldingMount | { readonly reason: string }> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return { reason: 'only root on Linux may mount one' }
  // In memory where there is room for it: what is tested is names, not disks.
  const base = existsSync(MEMORY) ? MEMORY : tmpdir()
  const home = await mkdtemp(join(base, 'keyturn-volume-'))
  const image = join(home, 'image')
  const place = join(home, 'volume')
  await writeFile(image, '')
  await truncate(image, SIZE_BYTES)
  execFileSync('mkdir', [place])
  for (const { kind, make, mount, check } of remembersNames ? WAYS : [FORGETTING, ...WAYS.slice(1)]) {
    if (tryRun([...make, image]) === undefined) continue
    const loop = tryRun(['losetup', '-f', '--show', image])
    if (loop === undefined) continue
    const unmount = async (): Promise<void> => {
      if (tryRun(['umount', place]) === undefined) tryRun(['umount', '-l', place])
      tryRun(['losetup', '-d', loop])
      await rm(home, { recursive: true, force: true })
    }
    if (tryRun([...mount, loop, place]) !== undefined && folds(place)) {
      const forget = async (): Promise<void> => {
        await unmountWhole(place)
        await runPatiently([...mount, loop, place], place)
      }
      const fault = async (): Promise<string | undefined> => {
        await unmountWhole(place)
        const { status, stdout, stderr } = spawnSync(check[0], [...check.slice(1), loop], { encoding: 'utf8' })
        await runPatiently([...mount, loop, place], place)
        return status === 0 || status === null ? undefined : `${stdout}${stderr}`.trim()
      }
      return { kind, fault, folder: () => mkdtemp(join(place, 'game-')), forget, unmount }
    }
    tryRun(['umount', place])
    tryRun(['losetup', '-d', loop])
  }
  await rm(home, { recursive: true, force: true })
  return { reason: 'no tools, or no kernel, for exFAT or VFAT by loop' }
}

function folds(place: string): boolean {
  const name = join(place, 'Probe')
  execFileSync('touch', [name])
  const found = existsSync(join(place, 'pROBE'))
  execFileSync('rm', [name])
  return found
}
