import { arch, platform } from 'node:os'
import type { Requirements } from '@keyturn/manifest'
import type { FileSystem } from '@keyturn/primitives/node'
import { LauncherError } from '../errors.ts'
import { listFolder, look } from './disk.ts'
import type { Layout } from './layout.ts'
import type { Plan } from './plan.ts'

/** Room for journal, manifests and folders beside the files themselves. */
const reserveBytes = 16 * 1024 * 1024

/** Bytes that staging holds already and that the plan wants. */
async function alreadyStaged(fs: FileSystem, layout: Layout, wanted: ReadonlySet<string>): Promise<number> {
  let bytes = 0
  for (const name of await listFolder(fs, layout.staging)) {
    if (!wanted.has(name.replace(/\.part$/, ''))) continue
    const stats = await fs.lstat(`${layout.staging}/${name}`)
    bytes += stats.blocks === 0 && stats.size > 0 ? stats.size : Math.min(stats.size, stats.blocks * 512)
  }
  return bytes
}

/**
 * Refuses an update that the volume of the install has no room for, counting what is staged already.
 *
 * @returns Bytes the update will write.
 * @throws LauncherError `LA_DISK_FULL`, `LA_PERMISSION`, `LA_REQUIRES`.
 */
export async function preflight(fs: FileSystem, layout: Layout, plan: Plan, requires: Requirements | undefined): Promise<number> {
  const wanted = new Map(plan.writes.map(({ file }) => [file.sha256, file.size]))
  let bytes = 0
  for (const { file } of plan.writes) bytes += file.size
  const needed = Math.max(0, bytes - (await alreadyStaged(fs, layout, new Set(wanted.keys()))))
  const { bavail, bsize } = await fs.statfs(layout.staging)
  const free = bavail * bsize
  const total = plan.writes.length === 0 ? 0 : needed + reserveBytes
  if (free < total) {
    throw new LauncherError('LA_DISK_FULL', `Cannot update: ${total} bytes are needed on the volume of "${layout.root}", ${free} are free`, {
      details: { needed: total, free, missing: total - free },
      hint: `Free ${total - free} bytes and try again`,
    })
  }
  checkRequirements(requires, free)
  await checkWritable(fs, layout, plan)
  return bytes
}

const systemNames: Readonly<Record<string, string>> = { win32: 'windows', darwin: 'macos', linux: 'linux' }

function checkRequirements(requires: Requirements | undefined, free: number): void {
  if (requires?.freeBytes !== undefined && free < requires.freeBytes) {
    throw new LauncherError('LA_DISK_FULL', `Cannot update: the release asks for ${requires.freeBytes} free bytes, ${free} are free`, {
      details: { needed: requires.freeBytes, free, missing: requires.freeBytes - free },
    })
  }
  const system = systemNames[platform()] ?? platform()
  // A Windows client runs on Linux through wine, so `windows` is met there too.
  const fits = requires?.os === undefined || requires.os.includes(system) || (system === 'linux' && requires.os.includes('windows'))
  if (!fits) throw new LauncherError('LA_REQUIRES', `Cannot update: the release runs on ${requires.os?.join(', ') ?? ''}, this is ${system}`)
  if (requires?.arch !== undefined && !requires.arch.includes(arch())) {
    throw new LauncherError('LA_REQUIRES', `Cannot update: the release runs on ${requires.arch.join(', ')}, this is ${arch()}`)
  }
}

/** Finds a read-only file's folder before the first change rather than in the middle. */
async function checkWritable(fs: FileSystem, layout: Layout, plan: Plan): Promise<void> {
  if (process.platform === 'win32' || plan.writes.length + plan.removals.length === 0) return
  const folders = new Set(['', ...[...plan.writes.map(({ file }) => file.path), ...plan.removals].map((path) => path.split('/').slice(0, -1).join('/'))])
  for (const folder of folders) {
    const place = `${layout.root}/${folder}`
    const found = await look(fs, place)
    if (found.kind !== 'other') continue
    const stats = await fs.lstat(place)
    const mine = process.getuid?.() === 0 || (stats.mode & 0o200) !== 0
    if (!mine) throw new LauncherError('LA_PERMISSION', `Cannot update: folder "${place}" cannot be written`, { details: { path: folder } })
  }
}
