import { arch, platform } from 'node:os'
import type { Requirements } from '@keyturn/manifest'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { listFolder, look } from '../disk/disk.ts'
import { hostSystem } from '../disk/host-system.ts'
import type { Layout } from '../disk/layout.ts'
import type { Plan, PlannedWrite } from './plan.ts'

/** Room for journal, manifests and folders beside the files themselves. */
export const RESERVE_BYTES = 16 * 1024 * 1024

/** Bytes of wanted files that are already in staging. */
export async function alreadyStaged(fs: FileSystem, layout: Layout, wanted: ReadonlySet<string>): Promise<number> {
  let bytes = 0
  for (const name of await listFolder(fs, layout.staging)) {
    if (!wanted.has(name.replace(/\.part$/, ''))) continue
    const stats = await fs.lstat(`${layout.staging}/${name}`)
    bytes += stats.blocks === 0 && stats.size > 0 ? stats.size : Math.min(stats.size, stats.blocks * 512)
  }
  return bytes
}

/** How much room an update has. */
export interface Room {
  /** Bytes the update will write. */
  readonly bytes: number
  /** Not enough to keep old and new side by side, but enough to go file by file. */
  readonly isLow: boolean
}

/** The order in which a low-space update takes room last and gives it back first. */
export function lowSpaceOrder(writes: readonly PlannedWrite[]): PlannedWrite[] {
  return writes.toSorted((a, b) => a.file.size - a.oldSize - (b.file.size - b.oldSize) || a.file.size - b.file.size)
}

/** Free bytes that going file by file needs at its tightest moment. */
function lowSpaceNeed(writes: readonly PlannedWrite[]): number {
  let [taken, need] = [0, 0]
  for (const { file, oldSize } of lowSpaceOrder(writes)) {
    need = Math.max(need, taken + file.size)
    taken += file.size - oldSize
  }
  return need
}

/** Bytes that this user may still write on the volume of the install; infinite where the volume does not say. */
export async function freeBytes(fs: FileSystem, layout: Layout): Promise<number> {
  const { bavail, bsize, blocks } = await fs.statfs(layout.staging)
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize
}

/**
 * Refuses an update that the volume of the install has no room for, counting what is staged already.
 *
 * @throws LauncherError `LA_DISK_FULL`, `LA_PERMISSION`, `LA_REQUIRES`.
 */
export async function preflight(
  fs: FileSystem,
  layout: Layout,
  plan: Plan,
  options: { requires: Requirements | undefined; lowSpace: boolean },
): Promise<Room> {
  const wanted = new Set(plan.writes.map(({ file }) => file.sha256))
  const bytes = plan.writes.reduce((sum, { file }) => sum + file.size, 0)
  const staged = await alreadyStaged(fs, layout, wanted)
  const free = await freeBytes(fs, layout)
  const total = plan.writes.length === 0 ? 0 : Math.max(0, bytes - staged) + RESERVE_BYTES
  const low = plan.writes.length === 0 ? 0 : lowSpaceNeed(plan.writes) + RESERVE_BYTES
  const isLow = free < total
  // What is staged already is given up for a low-space update, so its room counts as free.
  if (isLow && (!options.lowSpace || free + staged < low)) {
    const needed = options.lowSpace ? low : total
    const alternative =
      !options.lowSpace && free + staged >= low
        ? `, or update file by file (lowSpace, --low-space): then ${low} bytes are enough, but nobody can play ` +
          'until it is finished'
        : ''
    throw new LauncherError(
      'LA_DISK_FULL',
      `Cannot update: ${needed} bytes are needed on the volume of "${layout.root}", ${free} are free`,
      {
        details: { needed, free, missing: needed - free },
        hint: `Free ${needed - free} bytes and try again${alternative}`,
      },
    )
  }
  checkRequirements(options.requires, free)
  await checkFileCount(fs, layout, plan)
  await checkWritable(fs, layout, plan)
  return { bytes, isLow }
}

/** Files and folders of the launcher's own that an update makes. */
const OWN_FILES = 24

/** Some volumes hold a number of files, and no more however small they are. */
async function checkFileCount(fs: FileSystem, layout: Layout, { writes }: Plan): Promise<void> {
  if (writes.length === 0) return
  const { files, ffree } = await fs.statfs(layout.staging)
  const needed = writes.length + OWN_FILES
  if (!(files > 0) || ffree >= needed) return // none: the volume does not say, or makes room as it needs
  throw new LauncherError(
    'LA_DISK_FULL',
    `Cannot update: ${needed} files have to be made on the volume of "${layout.root}", which has room for ${ffree}`,
    { details: { files: needed, freeFiles: ffree }, hint: 'Delete files on that disk, then try again' },
  )
}

const SYSTEM_NAMES: Readonly<Record<string, string>> = { win32: 'windows', darwin: 'macos', linux: 'linux' }

function checkRequirements(requires: Requirements | undefined, free: number): void {
  if (requires?.freeBytes !== undefined && free < requires.freeBytes) {
    throw new LauncherError(
      'LA_DISK_FULL',
      `Cannot update: the release asks for ${requires.freeBytes} free bytes, ${free} are free`,
      {
        details: { needed: requires.freeBytes, free, missing: requires.freeBytes - free },
      },
    )
  }
  const system = SYSTEM_NAMES[platform()] ?? platform()
  // A Windows client runs on Linux through wine, so `windows` is met there too.
  const fits =
    requires?.os === undefined ||
    requires.os.includes(system) ||
    (system === 'linux' && requires.os.includes('windows'))
  if (!fits)
    throw new LauncherError(
      'LA_REQUIRES',
      `Cannot update: the release runs on ${requires.os?.join(', ') ?? ''}, this is ${system}`,
    )
  if (requires?.arch !== undefined && !requires.arch.includes(arch())) {
    throw new LauncherError(
      'LA_REQUIRES',
      `Cannot update: the release runs on ${requires.arch.join(', ')}, this is ${arch()}`,
    )
  }
}

/** Finds a read-only file's folder before the first change rather than in the middle. */
async function checkWritable(fs: FileSystem, layout: Layout, plan: Plan): Promise<void> {
  const changes = plan.writes.length + plan.removals.length + plan.asides.length
  if (!hostSystem.hasModes || changes === 0) return
  const folders = new Set([
    '',
    ...[...plan.writes.map(({ file }) => file.path), ...plan.removals].map((path) =>
      path.split('/').slice(0, -1).join('/'),
    ),
  ])
  for (const folder of folders) {
    const place = `${layout.root}/${folder}`
    const found = await look(fs, place)
    if (found.kind !== 'other') continue
    const stats = await fs.lstat(place)
    const mine = process.getuid?.() === 0 || (stats.mode & 0o200) !== 0
    if (!mine)
      throw new LauncherError('LA_PERMISSION', `Cannot update: folder "${place}" cannot be written`, {
        details: { path: folder },
      })
  }
}
