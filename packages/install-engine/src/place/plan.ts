import { foldPath, matchesGlob } from '@keyturn/manifest'
import type { ManifestFile } from '@keyturn/manifest'
import { look, placeInside } from '../disk/disk.ts'
import { FolderGuard } from '../disk/folder-guard.ts'
import { updatesFolder } from '../disk/layout.ts'
import { probeTraits } from '../disk/modes.ts'
import { SameName } from '../disk/same-name.ts'
import { modeOf } from '../disk/settled-file.ts'
import { Comparison } from './compare.ts'
import type { PlanInput, Standing } from './compare.ts'
import { findObstacles } from './obstacles.ts'
import type { Obstacle } from './obstacles.ts'
import type { ModeStep } from './transaction.ts'

export type { PlanInput } from './compare.ts'

/** A file to be written. */
export interface PlannedWrite {
  readonly file: ManifestFile
  /** Whether a file, link or special file is there now and goes to the backup. */
  readonly existed: boolean
  /** Bytes of the file that is there now. */
  readonly oldSize: number
}

/** What has to change on disk. */
export interface Plan {
  readonly writes: readonly PlannedWrite[]
  readonly removals: readonly string[]
  /** SHA-256 of those removals that go only with these bytes; `delete` takes a file whatever it holds. */
  readonly leaving: ReadonlyMap<string, string>
  /** What is the player's own and in the way. */
  readonly asides: readonly Obstacle[]
  /** Files whose bytes are right and whose permissions are not. */
  readonly modes: readonly ModeStep[]
  /** Files that the release dropped but the user changed: left alone. */
  readonly kept: readonly string[]
  /** Files that stay as they are. */
  readonly unchanged: readonly ManifestFile[]
}

const byPath = (a: string, b: string): number => (a < b ? -1 : 1)

/** The plan as it grows. */
class Planner {
  readonly #input: PlanInput
  readonly #comparison: Comparison
  /** Every listed file and how it was found. */
  readonly #found = new Map<ManifestFile, Standing>()
  readonly #removals: string[] = []
  readonly #leaving = new Map<string, string>()
  readonly #kept: string[] = []
  readonly #names: SameName

  constructor(input: PlanInput) {
    this.#input = input
    this.#comparison = new Comparison(input)
    this.#names = new SameName(input.fs, input.layout.root)
  }

  #isProtected(path: string): boolean {
    return this.#input.manifest.keep.some((glob) => matchesGlob(glob, path))
  }

  async make(): Promise<Plan> {
    await this.#comparison.all(this.#input.files, (file, standing) => {
      this.#input.onFile?.()
      this.#found.set(file, standing)
    })
    await this.#planRemovals()
    const renamed = await this.#renamedOnly()
    const writes: PlannedWrite[] = []
    const unchanged: ManifestFile[] = []
    const modes: ModeStep[] = []
    for (const [file, standing] of this.#found) {
      const isHere = standing.kind === 'same' || standing.kind === 'different'
      const isUsers = isHere && this.#isProtected(file.path)
      if (isUsers || (standing.kind === 'same' && !renamed.has(file.path))) {
        unchanged.push(file)
        const mode = modeOf(file)
        if (!isUsers && standing.kind === 'same' && standing.mode !== undefined && mode !== undefined)
          modes.push({ path: file.path, mode, oldMode: standing.mode })
        continue
      }
      const oldSize = standing.kind === 'different' ? standing.size : 0
      writes.push({ file, existed: isHere && !renamed.has(file.path), oldSize })
    }
    const settable = await this.#settable(modes)
    const asides = await this.#findObstacles(writes)
    const isAside = new Set(asides.flatMap(({ path, files }) => [path, ...files]))
    writes.sort((a, b) => byPath(a.file.path, b.file.path))
    return {
      writes: writes.map((write) => (isAside.has(write.file.path) ? { ...write, existed: false } : write)),
      unchanged: unchanged.sort((a, b) => byPath(a.path, b.path)),
      modes: settable,
      removals: this.#removals,
      leaving: this.#leaving,
      kept: this.#kept.filter((path) => !isAside.has(path)),
      asides,
    }
  }

  async #planRemovals(): Promise<void> {
    const { files, manifest, installedFiles, layout, fs, linkedFolders } = this.#input
    // The usual start: the same release as is installed, and nothing to delete.
    if (installedFiles === files && manifest.delete.length === 0) return
    const stays = new Set(files.map((file) => file.path))
    const listed = new Map(installedFiles.map((file) => [file.path, file]))
    for (const [path, file] of listed) {
      if (stays.has(path) || this.#isProtected(path)) continue
      const { kind } = await this.#comparison.one(file)
      if (kind === 'same') {
        this.#removals.push(path)
        this.#leaving.set(path, file.sha256)
      } else if (kind === 'different') this.#kept.push(path)
    }
    const guard = new FolderGuard(layout.root, fs, linkedFolders)
    for (const path of manifest.delete) {
      this.#leaving.delete(path)
      if (stays.has(path) || this.#isProtected(path) || this.#removals.includes(path)) continue
      if (path === updatesFolder || path.startsWith(`${updatesFolder}/`) || !(await guard.parentsAreReal(path)))
        continue
      const found = await look(fs, placeInside(layout.root, path))
      if (found.kind === 'file' || (found.kind === 'other' && found.what === 'link')) this.#removals.push(path)
    }
  }

  /**
   * Listed files in whose place is a file under another spelling of the name, on a disk that folds names: they are
   * written although the bytes may be right, since that file leaves. A changed one of these is replaced as any other.
   */
  async #renamedOnly(): Promise<ReadonlySet<string>> {
    const renamed = new Set<string>()
    if (this.#removals.length + this.#kept.length === 0) return renamed
    const byFold = new Map(this.#input.files.map((file) => [foldPath(file.path), file]))
    for (const path of [...this.#removals, ...this.#kept]) {
      const file = byFold.get(foldPath(path))
      if (file === undefined || file.path === path || !(await this.#names.isOne(path, file.path))) continue
      const isKept = this.#kept.indexOf(path)
      if (isKept >= 0) this.#kept.splice(isKept, 1)
      else renamed.add(file.path)
    }
    return renamed
  }

  async #findObstacles(writes: readonly PlannedWrite[]): Promise<Obstacle[]> {
    const { fs, layout, files, installedFiles } = this.#input
    const places: string[] = []
    let known: Map<string, string> | undefined
    for (const { file } of writes) {
      const standing = this.#found.get(file) as Standing
      if (standing.kind === 'folder') places.push(file.path)
      if (standing.kind === 'blocked') places.push(standing.at)
      // An unlisted file with other bytes, in an install that is known: the player put it there.
      if (standing.kind !== 'different' || !standing.isFile || installedFiles.length === 0) continue
      known ??= new Map(installedFiles.map(({ path }) => [foldPath(path), path]))
      const old = known.get(foldPath(file.path))
      const isKnown = old !== undefined && (old === file.path || (await this.#names.isOne(old, file.path)))
      if (!isKnown) places.push(file.path)
    }
    if (places.length === 0) return []
    const listed = [...files, ...installedFiles].map(({ path }) => path)
    return await findObstacles({ fs, layout, removals: this.#removals, listed }, places)
  }

  /** Permissions that this file system keeps and this user may set. */
  async #settable(modes: ModeStep[]): Promise<ModeStep[]> {
    if (modes.length === 0) return modes
    const { hasModes } = await probeTraits(this.#input.fs, this.#input.layout.updates)
    return hasModes ? modes.sort((a, b) => byPath(a.path, b.path)) : []
  }
}

/** Compares a release with what is on disk. */
export async function makePlan(input: PlanInput): Promise<Plan> {
  return await new Planner(input).make()
}
