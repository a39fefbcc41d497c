/** How `changeset version` writes changelogs: for people who install packages, without hashes of commits. */

interface Changeset {
  readonly summary: string
}

interface Updated {
  readonly name: string
  readonly newVersion: string
}

/** A changeset as one item of a list. */
export function getReleaseLine({ summary }: Changeset): string {
  const [first = '', ...rest] = summary.trim().split('\n')
  return [`- ${first.trimEnd()}`, ...rest.map((line) => `  ${line}`.trimEnd())].join('\n')
}

/** What a version needs of the other packages; nothing if that did not change. */
export function getDependencyReleaseLine(_changesets: readonly Changeset[], updated: readonly Updated[]): string {
  if (updated.length === 0) return ''
  return `- Needs ${updated.map(({ name, newVersion }) => `\`${name}\` ${newVersion}`).join(', ')} or newer.`
}
