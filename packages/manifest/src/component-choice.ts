import type { Component, ManifestFile, ReleaseManifest } from './model.ts'

/**
 * What a player chose: the components to have, and no other; or an answer for each component that they were asked
 * about, which leaves all others, also those of later releases, to their default.
 */
export type ComponentChoice = readonly string[] | Readonly<Record<string, boolean>>

/** A component as one install has it. */
export interface ComponentShare extends Component {
  /** Bytes of its files on this platform. */
  readonly bytes: number
  /** Whether the install has it, by choice or by default. */
  readonly isChosen: boolean
}

function isList(choice: ComponentChoice): choice is readonly string[] {
  return Array.isArray(choice)
}

/** The one rule: what was chosen, else the default of the component, else the install has it. */
function hasGroup(group: string, left: ReadonlySet<string>, choice: ComponentChoice | undefined): boolean {
  if (choice === undefined) return !left.has(group)
  if (isList(choice)) return choice.includes(group)
  return (Object.hasOwn(choice, group) ? choice[group] : undefined) ?? !left.has(group)
}

function leftOut(components: readonly Component[]): ReadonlySet<string> {
  return new Set(components.filter((component) => !component.default).map(({ name }) => name))
}

/**
 * The files of a release that one install has: those of its platform, and of the groups those that were chosen.
 *
 * @param manifest - The release.
 * @param platform - The explicit target, never guessed from the host: a Windows client runs under wine too.
 * @param choice - What was chosen; files without a group always belong. Default: nobody chose, and an install has every
 *   group but those whose component says `default: false`.
 */
export function filesFor(
  { files, components }: Pick<ReleaseManifest, 'files' | 'components'>,
  platform: string,
  choice?: ComponentChoice,
): ManifestFile[] {
  const left = leftOut(components)
  return files.filter(
    ({ platform: wanted, group }) =>
      (wanted === 'all' || wanted === platform) && (group === undefined || hasGroup(group, left, choice)),
  )
}

/** Every file of a release for a platform, whatever was chosen: what may be on the disk of an install. */
export function allFilesFor({ files }: Pick<ReleaseManifest, 'files'>, platform: string): ManifestFile[] {
  return files.filter(({ platform: wanted }) => wanted === 'all' || wanted === platform)
}

/** What players may leave out of a release, with the size of each; a group that no component describes is one too. */
export function componentsFor(
  manifest: Pick<ReleaseManifest, 'files' | 'components'>,
  platform: string,
  choice?: ComponentChoice,
): ComponentShare[] {
  const bytes = new Map<string, number>()
  for (const { group, size } of allFilesFor(manifest, platform))
    if (group !== undefined) bytes.set(group, (bytes.get(group) ?? 0) + size)
  const listed = new Set(manifest.components.map(({ name }) => name))
  const others = [...bytes.keys()].filter((name) => !listed.has(name))
  const all = [...manifest.components, ...others.map((name) => ({ name, title: name, default: true }))]
  const left = leftOut(manifest.components)
  return all.map((component) => ({
    ...component,
    bytes: bytes.get(component.name) ?? 0,
    isChosen: hasGroup(component.name, left, choice),
  }))
}
