import { matchesGlob } from '@keyturn/manifest'
import { checkPath } from '@keyturn/manifest/publish'
import { printable } from '@keyturn/primitives'
import { PublisherError } from '../errors.ts'

/** Folder of a release tree that holds the archives that no rule names. */
export const packFolder = 'pack'

/** An archive that a project describes. */
export interface ArchiveRule {
  /** Path in the release, ends in `.m2p`. */
  readonly path: string
  /** Globs of the files it holds. */
  readonly include: readonly string[]
  /** Folder that the names inside start below; default: the source. */
  readonly root: string | undefined
}

/** What players may leave out, as a project describes it. */
export interface ComponentRule {
  readonly name: string
  readonly title: string
  readonly include: readonly string[]
  readonly default: boolean
}

/** How the files of a source become those of a release. */
export interface LayoutRules {
  /** Undefined: one archive for each top folder. Files in folders that no rule names get one anyway. */
  readonly archives?: readonly ArchiveRule[] | undefined
  /**
   * Globs of files that players get as they are; files at the top are such without a rule, unless an archive takes
   * them.
   */
  readonly plain?: readonly string[] | undefined
  /** Globs of files for one system only. */
  readonly platforms?: Readonly<Record<string, readonly string[]>> | undefined
  readonly components?: readonly ComponentRule[] | undefined
}

/** Who gets a file of the release. */
export interface FileTraits {
  /** A system; undefined: all. */
  readonly platform: string | undefined
  /** A component that players may leave out. */
  readonly group: string | undefined
}

/** An archive to make. */
export interface PlannedArchive extends FileTraits {
  /** Path in the release. */
  readonly path: string
  /** Folder of the source that its names start below; empty for the source itself. */
  readonly root: string
  /** Its files, relative to that folder. */
  readonly files: readonly string[]
}

/** A file that players get as it is. */
export interface LooseFile extends FileTraits {
  readonly path: string
}

/** What a release is made of. */
export interface Layout {
  readonly archives: readonly PlannedArchive[]
  readonly loose: readonly LooseFile[]
  /** Rules that name no file, in words: mostly a slip. */
  readonly unused: readonly string[]
}

const fits = (globs: readonly string[], path: string): boolean => globs.some((glob) => matchesGlob(glob, path))

/** Counts which rules were of use. */
class Claims {
  readonly #unused: Set<string>

  constructor({ archives = [], plain = [], platforms = {}, components = [] }: LayoutRules) {
    this.#unused = new Set([
      ...archives.map(({ path }) => `archive "${path}"`),
      ...plain.map((glob) => `"${glob}" of "plain"`),
      ...Object.keys(platforms).map((name) => `platform "${name}"`),
      ...components.map(({ name }) => `component "${name}"`),
    ])
  }

  use(rule: string): void {
    this.#unused.delete(rule)
  }

  get unused(): string[] {
    return [...this.#unused]
  }

  /** The only rule that takes a file. @throws {@link PublisherError} `BUILD_CLAIM` when two do. */
  only<Rule>(path: string, kind: string, rules: readonly (readonly [string, Rule])[]): Rule | undefined {
    const [first, second] = rules
    if (first === undefined) return undefined
    if (second !== undefined)
      throw new PublisherError(
        'BUILD_CLAIM',
        `"${printable(path, 120)}" belongs to two ${kind}s: "${first[0]}" and "${second[0]}"`,
        { details: { path: printable(path) }, hint: `Name it under one ${kind} only` },
      )
    this.use(`${kind} "${first[0]}"`)
    return first[1]
  }
}

function traitsOf(path: string, { platforms = {}, components = [] }: LayoutRules, claims: Claims): FileTraits {
  const systems = Object.entries(platforms).filter(([, globs]) => fits(globs, path))
  const groups = components.filter(({ include }) => fits(include, path))
  return {
    platform: claims.only(
      path,
      'platform',
      systems.map(([name]) => [name, name]),
    ),
    group: claims.only(
      path,
      'component',
      groups.map(({ name }) => [name, name]),
    ),
  }
}

function isPlain(path: string, { plain = [] }: LayoutRules, claims: Claims): boolean {
  const found = plain.filter((glob) => matchesGlob(glob, path))
  for (const glob of found) claims.use(`"${glob}" of "plain"`)
  return found.length > 0
}

function archiveRuleOf(path: string, { archives = [] }: LayoutRules, claims: Claims): ArchiveRule | undefined {
  const found = archives.filter(({ include }) => fits(include, path))
  return claims.only(
    path,
    'archive',
    found.map((rule) => [rule.path, rule]),
  )
}

interface GrowingArchive extends FileTraits {
  readonly root: string
  readonly rule: ArchiveRule | undefined
  readonly files: string[]
}

/** Archives by their path in the release, as files are put in. */
class Archives {
  readonly #byPath = new Map<string, GrowingArchive>()

  add(path: string, { rule, root, ...traits }: Omit<GrowingArchive, 'files'>, file: string): void {
    const known = this.#byPath.get(path)
    if (known !== undefined) checkSameKind(known, { path, file, rule, root, ...traits })
    const archive = known ?? { rule, root, ...traits, files: [] }
    if (known === undefined) this.#byPath.set(path, archive)
    archive.files.push(insideRoot(path, archive.root, file))
  }

  list(): PlannedArchive[] {
    return [...this.#byPath].map(([path, { rule: _rule, ...archive }]) => ({ path, ...archive }))
  }
}

function insideRoot(archive: string, root: string, file: string): string {
  if (root === '') return file
  if (file.startsWith(`${root}/`)) return file.slice(root.length + 1)
  throw new PublisherError(
    'BUILD_CLAIM',
    `"${printable(file, 120)}" of archive "${archive}" is not below its "root" "${root}"`,
    { details: { path: printable(file) }, hint: 'Narrow "include", or take "root" away' },
  )
}

/** Players get an archive as a whole: all of it belongs to one component and one platform. */
function checkSameKind(
  known: GrowingArchive,
  { path, file, rule, root, platform, group }: Omit<GrowingArchive, 'files'> & { path: string; file: string },
): void {
  const kind = ({ platform: system, group: component }: FileTraits): string =>
    `${component === undefined ? 'no component' : `component "${component}"`}, ${system ?? 'every'} platform`
  if (known.rule !== rule || known.root !== root)
    throw new PublisherError('BUILD_CLAIM', `Two archives would be named "${path}"`, {
      hint: 'Give the one in "archives" another path',
    })
  if (known.platform === platform && known.group === group) return
  throw new PublisherError(
    'BUILD_CLAIM',
    `Archive "${path}" has files of ${kind(known)}, and "${printable(file, 120)}" of ${kind({ platform, group })}`,
    {
      details: { path: printable(file) },
      hint: 'Players get an archive as a whole: describe one for each component and platform',
    },
  )
}

/** `voices/de/hello.ogg` of component `voices-de` → `pack/voices.voices-de.m2p`. */
function defaultArchive(folder: string, { platform, group }: FileTraits): string {
  return `${packFolder}/${[folder, group, platform].filter((part) => part !== undefined).join('.')}.m2p`
}

/**
 * Decides which files of a source are packed together and which stay as they are, who gets them, and under which name.
 *
 * @param paths - Files of the source, relative, forward slashes.
 * @param rules - Of the project; without any, each top folder becomes `pack/<folder>.m2p`.
 * @throws {@link PublisherError} `BUILD_CLAIM` when two rules take one file, or an archive would not be of one kind;
 *   `MAN_PATH` of `ManifestError` for the path of an archive.
 */
export function planLayout(paths: readonly string[], rules: LayoutRules = {}): Layout {
  for (const { path } of rules.archives ?? []) checkPath(path) // before it is where something is written
  const claims = new Claims(rules)
  const archives = new Archives()
  const loose: LooseFile[] = []
  for (const path of paths) {
    const traits = traitsOf(path, rules, claims)
    const slash = path.indexOf('/')
    const folder = path.slice(0, slash)
    const rule = isPlain(path, rules, claims) ? 'plain' : archiveRuleOf(path, rules, claims)
    if (rule === 'plain' || (rule === undefined && slash < 0)) loose.push({ path, ...traits })
    else if (rule === undefined) archives.add(defaultArchive(folder, traits), { rule, root: folder, ...traits }, path)
    else archives.add(rule.path, { rule, root: rule.root ?? '', ...traits }, path)
  }
  return { archives: archives.list(), loose, unused: claims.unused }
}
