import type { Stats } from 'node:fs'
import { lstat, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, isAbsolute, join, resolve } from 'node:path'
import { isRecord, parseStrictJson, printable } from '@keyturn/primitives'
import { isMissing } from '@keyturn/primitives/node'
import type { FormatVersion } from '@keyturn/m2pack-format'
import type { Requirements } from '@keyturn/manifest'
import { pathInside } from '../inside.ts'
import { PublisherError } from '../errors.ts'
import { PROJECT_FILE } from '../names.ts'
import type { ArchiveRule, ComponentRule, LayoutRules } from '../tree/layout.ts'

/** What a project says, checked in beside the client's source: `keyturn.json`, docs/spec/project.md. */
export interface Project {
  /** The file itself. */
  readonly file: string
  /** Its folder; paths inside are relative to it. */
  readonly folder: string
  readonly product: string | undefined
  readonly name: string | undefined
  readonly server: string | undefined
  /** Source tree, an absolute path. */
  readonly source: string
  readonly exclude: readonly string[]
  readonly include: readonly string[]
  /** Files that players may change: installed once, never set back. */
  readonly keep: readonly string[]
  /** Program to start, by system. */
  readonly program: Readonly<Record<string, string>> | undefined
  /** How the files of the source become those of a release. */
  readonly layout: LayoutRules
  /** Format version of the archives; undefined: that of the release before, else 1. */
  readonly archiveFormat: FormatVersion | undefined
  /** What a machine needs. */
  readonly requires: Requirements | undefined
  /** `git`: the version is what `git describe` says. */
  readonly version: 'git' | undefined
  /** Notes for players, an absolute path. */
  readonly notes: string | undefined
  /**
   * Where `rotate content` writes the public keys for the client: `M2PackKeys.h`, or a `.ts` file; an absolute path.
   */
  readonly clientConfig: string | undefined
  readonly launcher: ProjectLauncher
}

/** What `keyturn launcher build` takes from a project; paths are absolute. */
export interface ProjectLauncher {
  readonly icon: string | undefined
  readonly logo: string | undefined
  readonly background: string | undefined
  readonly accent: string | undefined
  readonly languages: readonly string[] | undefined
  readonly publisher: string | undefined
  /** Whether launchers report counts of updates, unless the player says no. */
  readonly telemetry: boolean | undefined
}

const MAX_RULES = 1000
const MAX_PROJECT_BYTES = 256 * 1024
const SYSTEMS = ['windows', 'linux', 'macos']

const MEMBERS = [
  'schema',
  'product',
  'name',
  'server',
  'source',
  'exclude',
  'include',
  'archives',
  'archiveFormat',
  'plain',
  'keep',
  'program',
  'platforms',
  'components',
  'requires',
  'version',
  'notes',
  'clientConfig',
  'launcher',
]
const ARCHIVE_MEMBERS = ['path', 'include', 'root']
const COMPONENT_MEMBERS = ['title', 'include', 'default']
const REQUIRES_MEMBERS = ['freeBytes', 'os', 'arch']
const COMPONENT_NAME = /^[a-z0-9-]{1,64}$/
const LAUNCHER_MEMBERS = ['icon', 'logo', 'background', 'accent', 'languages', 'publisher', 'telemetry']

/** Edits from one word to another; small words only. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i]
    for (let j = 1; j <= b.length; j += 1) {
      const swap = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(swap, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}

/** Reads members of one object and keeps the place for messages. */
class Members {
  readonly #value: Record<string, unknown>
  readonly #file: string
  readonly #place: string

  constructor(value: unknown, file: string, place: string, known: readonly string[]) {
    this.#file = file
    this.#place = place
    if (!isRecord(value)) throw this.#wrong(place === '' ? 'the file' : place, 'an object')
    this.#value = value
    for (const name of Object.keys(value)) {
      if (known.includes(name)) continue
      const [nearest] = known.toSorted((a, b) => distance(name, a) - distance(name, b))
      const close = nearest !== undefined && distance(name, nearest) <= 3
      throw new PublisherError('PRJ_FORMAT', `Cannot read "${file}": unknown member "${printable(place + name, 60)}"`, {
        hint: close ? `Did you mean "${place}${nearest}"?` : `Known: ${known.join(', ')}`,
      })
    }
  }

  #wrong(name: string, expected: string): PublisherError {
    return new PublisherError('PRJ_FORMAT', `Cannot read "${this.#file}": ${name} is not ${expected}`)
  }

  /** A member that is not what it has to be. */
  wrong(name: string, expected: string): PublisherError {
    return this.#wrong(`"${this.#place}${name}"`, expected)
  }

  get(name: string): unknown {
    return this.#value[name]
  }

  text(name: string, pattern = /^[^\p{Cc}]{1,256}$/u): string | undefined {
    const value = this.#value[name]
    if (value === undefined) return undefined
    if (typeof value === 'string' && pattern.test(value)) return value
    throw this.wrong(name, 'a text of the right form')
  }

  list(name: string): readonly string[] | undefined {
    const value = this.#value[name]
    if (value === undefined) return undefined
    const isList =
      Array.isArray(value) &&
      value.length <= 1000 &&
      value.every((item) => typeof item === 'string' && item !== '' && item.length <= 1024)
    if (isList) return value as string[]
    throw this.wrong(name, 'a list of texts')
  }

  flag(name: string): boolean | undefined {
    const value = this.#value[name]
    if (value === undefined || typeof value === 'boolean') return value
    throw this.wrong(name, 'true or false')
  }

  bytes(name: string): number | undefined {
    const value = this.#value[name]
    if (value === undefined) return undefined
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value
    throw this.wrong(name, 'a number of bytes')
  }

  /** A member that has to be there. */
  required<Value>(name: string, value: Value | undefined): Value {
    if (value !== undefined) return value
    throw this.wrong(name, 'there')
  }

  /** Objects of a list. */
  objects(name: string, known: readonly string[]): readonly Members[] | undefined {
    const value = this.#value[name]
    if (value === undefined) return undefined
    if (!Array.isArray(value) || value.length > MAX_RULES) throw this.wrong(name, 'a list')
    return value.map((item, index) => new Members(item, this.#file, `${this.#place}${name}[${index}].`, known))
  }

  /** The names of a member that is an object, which are the author's own, and its members. */
  named(name: string, pattern: RegExp): readonly string[] {
    const value = this.#value[name]
    if (value === undefined) return []
    const isRight =
      isRecord(value) && Object.keys(value).length <= MAX_RULES && Object.keys(value).every((key) => pattern.test(key))
    if (isRight) return Object.keys(value)
    throw this.wrong(name, 'an object with names of the right form')
  }

  /** A member that is an object. */
  below(name: string, known: readonly string[]): Members {
    return new Members(this.#value[name], this.#file, `${this.#place}${name}.`, known)
  }

  /**
   * A path relative to the project, which has to stay inside it, by way of links too: what it names goes to everyone.
   */
  async path(name: string): Promise<string | undefined> {
    const value = this.text(name, /^[^\p{Cc}]{1,1024}$/u)
    if (value === undefined) return undefined
    const folder = dirname(this.#file)
    const path = resolve(folder, value)
    const real = await realpath(path).catch(() => path) // a missing one is refused when it is read
    if (isAbsolute(value) || pathInside(folder, path) === undefined || pathInside(folder, real) === undefined)
      throw this.wrong(name, 'a path inside the project')
    return path
  }
}

function programOf(members: Members): Readonly<Record<string, string>> | undefined {
  if (members.get('program') === undefined) return undefined
  const systems = members.below('program', SYSTEMS)
  const entries = SYSTEMS.flatMap((system) => {
    const path = systems.text(system)
    return path === undefined ? [] : [[system, path] as const]
  })
  return Object.fromEntries(entries)
}

const ARCHIVE_PATH = /^(?!\/)(?:[^\p{Cc}\\:*?"<>|]{1,1000})\.m2p$/u
const FOLDER_PATH = /^(?![./])(?:[^\p{Cc}\\:*?"<>|]{0,1000}[^\p{Cc}\\:*?"<>|/])$/u

function archivesOf(members: Members): readonly ArchiveRule[] | undefined {
  return members.objects('archives', ARCHIVE_MEMBERS)?.map((archive) => ({
    path: archive.required('path', archive.text('path', ARCHIVE_PATH)),
    include: archive.required('include', archive.list('include')),
    root: archive.text('root', FOLDER_PATH),
  }))
}

function componentsOf(members: Members): readonly ComponentRule[] | undefined {
  if (members.get('components') === undefined) return undefined
  const names = members.named('components', COMPONENT_NAME)
  const all = members.below('components', names)
  return names.map((name) => {
    const component = all.below(name, COMPONENT_MEMBERS)
    return {
      name,
      title: component.text('title') ?? name,
      include: component.required('include', component.list('include')),
      default: component.flag('default') ?? true,
    }
  })
}

function platformsOf(members: Members): Readonly<Record<string, readonly string[]>> | undefined {
  if (members.get('platforms') === undefined) return undefined
  const systems = members.below('platforms', SYSTEMS)
  return Object.fromEntries(
    SYSTEMS.flatMap((system) => {
      const globs = systems.list(system)
      return globs === undefined ? [] : [[system, globs] as const]
    }),
  )
}

function archiveFormatOf(members: Members): FormatVersion | undefined {
  const value = members.get('archiveFormat')
  if (value === undefined || value === 1 || value === 2) return value
  throw members.wrong('archiveFormat', '1 or 2')
}

function requirementsOf(members: Members): Requirements | undefined {
  if (members.get('requires') === undefined) return undefined
  const requires = members.below('requires', REQUIRES_MEMBERS)
  const [freeBytes, os, arch] = [requires.bytes('freeBytes'), requires.list('os'), requires.list('arch')]
  const unknown = os?.find((system) => !SYSTEMS.includes(system))
  if (unknown !== undefined) throw requires.wrong('os', `a list of ${SYSTEMS.join(', ')}`)
  return { freeBytes, os, arch }
}

/**
 * Reads a project file.
 *
 * @throws {@link PublisherError} `PRJ_NOT_FOUND`, `PRJ_FORMAT` naming the member and, for a slip, the nearest one.
 */
export async function readProject(path: string): Promise<Project> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause
    throw new PublisherError('PRJ_NOT_FOUND', `No project file "${path}"`, {
      cause,
      hint: 'Run "keyturn project init"',
    })
  })
  const file = await realpath(path)
  let value: unknown
  try {
    value = parseStrictJson(bytes, { maxBytes: MAX_PROJECT_BYTES })
  } catch (cause) {
    throw new PublisherError('PRJ_FORMAT', `Cannot read "${path}": ${(cause as Error).message}`, { cause })
  }
  const members = new Members(value, file, '', MEMBERS)
  if (members.get('schema') !== 1)
    throw new PublisherError('PRJ_FORMAT', `Cannot read "${path}": "schema" is not 1`, {
      hint: 'A newer keyturn may be needed',
    })
  const launcher = new Members(members.get('launcher') ?? {}, file, 'launcher.', LAUNCHER_MEMBERS)
  return {
    file,
    folder: dirname(file),
    product: members.text('product', /^[a-z0-9-]{1,64}$/),
    name: members.text('name'),
    server: members.text('server', /^https?:\/\/[^\s@]{1,512}$/),
    source: (await members.path('source')) ?? dirname(file),
    exclude: members.list('exclude') ?? [],
    include: members.list('include') ?? [],
    keep: members.list('keep') ?? [],
    program: programOf(members),
    layout: {
      archives: archivesOf(members),
      plain: members.list('plain'),
      platforms: platformsOf(members),
      components: componentsOf(members),
    },
    archiveFormat: archiveFormatOf(members),
    requires: requirementsOf(members),
    version: members.text('version', /^git$/) as 'git' | undefined,
    notes: await members.path('notes'),
    clientConfig: await members.path('clientConfig'),
    launcher: {
      icon: await launcher.path('icon'),
      logo: await launcher.path('logo'),
      background: await launcher.path('background'),
      accent: launcher.text('accent', /^#[0-9a-fA-F]{6}$/),
      languages: launcher.list('languages'),
      publisher: launcher.text('publisher'),
      telemetry: launcher.flag('telemetry'),
    },
  }
}

/**
 * Finds the project file by walking up from a folder.
 *
 * @returns `undefined` where no folder above has one.
 * @throws {@link PublisherError} as {@link readProject}; `PRJ_FORMAT` for one that is not a file of this user.
 */
export async function findProject(from: string): Promise<Project | undefined> {
  for (let folder = resolve(from); ; folder = dirname(folder)) {
    const path = join(folder, PROJECT_FILE)
    if (await isOwnFile(path)) return await readProject(path)
    if (folder === dirname(folder)) return undefined
  }
}

/**
 * Whether a file is there. One that was found, not named, has to be the user's own before it is opened: a folder above
 * may be open to all, as /tmp is, and a link of somebody else may lead to another project, a pipe to no end.
 */
async function isOwnFile(path: string): Promise<boolean> {
  const link = await lstat(path).catch(noneIfMissing)
  const file = link?.isSymbolicLink() === true ? await stat(path).catch(noneIfMissing) : link
  if (link === undefined || file === undefined) return false
  const isForeign = ({ uid }: Stats): boolean => uid !== process.getuid?.() && uid !== 0
  if (process.getuid !== undefined && [link, file].some(isForeign))
    throw new PublisherError('PRJ_FORMAT', `"${path}" belongs to another user`, {
      hint: 'Name it with --project if you trust it',
    })
  if (!file.isFile()) throw new PublisherError('PRJ_FORMAT', `"${path}" is not a file`)
  return true
}

function noneIfMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error
  return undefined
}
