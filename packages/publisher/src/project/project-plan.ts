import { matchesGlob } from '@keyturn/manifest'
import { printable } from '@keyturn/primitives'
import { PublisherError } from '../errors.ts'
import { PROJECT_FILE } from '../names.ts'
import { planTree } from '../tree/archives.ts'
import type { Selection } from '../tree/exclusions.ts'
import type { Layout } from '../tree/layout.ts'
import type { Project } from './project.ts'

/** What a release of a project will be made of, and what deserves a look. */
export interface ProjectPlan {
  readonly layout: Layout
  readonly selection: Selection
  /** Rules that have no effect, in words. */
  readonly warnings: readonly string[]
}

const shown = (text: string): string => `"${printable(text, 120)}"`

/** Where each file of the source ends up: the archive it goes into, or itself. */
function placesOf({ archives, loose }: Layout): ReadonlyMap<string, string> {
  return new Map([
    ...loose.map(({ path }) => [path, path] as const),
    ...archives.flatMap(({ path, root, files }) =>
      files.map((file) => [root === '' ? file : `${root}/${file}`, path] as const),
    ),
  ])
}

/** A launcher starts a file that players have as it is: what is wrong here would be found after an hour of packing. */
function checkProgram({ file, program = {} }: Project, { loose }: Layout, places: ReadonlyMap<string, string>): void {
  for (const [system, path] of Object.entries(program)) {
    const refuse = (reason: string, hint: string): never => {
      throw new PublisherError(
        'PRJ_FORMAT',
        `Cannot use "${file}": "program.${system}" names ${shown(path)}, ${reason}`,
        {
          details: { path: printable(path) },
          hint,
        },
      )
    }
    const place = places.get(path)
    if (place === undefined) {
      const name = path.split('/').at(-1)?.toLowerCase()
      const near = [...places.keys()].find((known) => known.split('/').at(-1)?.toLowerCase() === name)
      refuse(
        'which is not a file of the release',
        near === undefined ? 'Name a file of the source that is not excluded' : `Did you mean ${shown(near)}?`,
      )
    } else if (place !== path)
      refuse(`which goes into archive ${shown(place)}`, 'Name it under "plain", so that players get it as it is')
    const { group, platform } = loose.find((candidate) => candidate.path === path) ?? {}
    if (group !== undefined)
      refuse(`of component "${group}", which players may leave out`, 'Leave it out of "components"')
    if (platform !== undefined && platform !== system)
      refuse(`a file for ${platform} only`, 'Name a file of that platform, or one for all of them')
  }
}

/** A file inside an archive cannot be kept: players have only the archive. */
function keepWarnings(keep: readonly string[], places: ReadonlyMap<string, string>): string[] {
  return keep.flatMap((glob) => {
    const found = [...places].filter(([path]) => matchesGlob(glob, path))
    if (found.length === 0)
      return [
        `No file of the release fits ${shown(glob)} of "keep"; files that are not part of it are left alone anyway`,
      ]
    const packed = found.find(([path, place]) => path !== place)
    if (packed === undefined) return []
    return [
      `"keep" has no effect on ${shown(packed[0])}: it goes into archive ${shown(packed[1])}; ` +
        'name files that players edit under "plain", or put them at the top of the source',
    ]
  })
}

/**
 * Looks at the source of a project before anything is packed: what would be refused later is refused now.
 *
 * @throws {@link PublisherError} `PRJ_FORMAT` for a program that players would not have; those of `planTree`.
 */
export async function planProject(project: Project): Promise<ProjectPlan> {
  const selection = { exclude: [...project.exclude, PROJECT_FILE], include: project.include }
  const layout = await planTree({ input: project.source, selection, layout: project.layout })
  const places = placesOf(layout)
  checkProgram(project, layout, places)
  return {
    layout,
    selection,
    warnings: [
      ...layout.unused.map((rule) => `No file of the source belongs to ${rule} of ${PROJECT_FILE}`),
      ...keepWarnings(project.keep, places),
    ],
  }
}
