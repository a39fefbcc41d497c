import { createHash } from 'node:crypto'
import { foldPath, PathSet } from '@keyturn/manifest'
import { noise } from './publisher.ts'
import type { TestFiles } from './publisher.ts'

/** A random number generator that gives the same numbers for a seed on every machine. */
export class Dice {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** A whole number from 0 to below `count`. */
  below(count: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % count
  }

  /** Whether one of `count` chances came. */
  oneIn(count: number): boolean {
    return this.below(count) === 0
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }
}

/** A file of a release: which content, and whether it may be run. */
export interface TreeFile {
  readonly content: number
  readonly executable: boolean
}

/** A release, by path. */
export type RandomTree = ReadonlyMap<string, TreeFile>

/** Contents that files take; several of one length, so that length says little. */
const CONTENTS: readonly Uint8Array[] = [0, 3, 3, 3, 90, 90, 4000, 4000].map((length, index) =>
  noise(length, 2 * index + 1),
)
const HASHES = CONTENTS.map((bytes) => createHash('sha256').update(bytes).digest('hex'))

/** Names that are each other's folders, spellings and prefixes. */
const NAMES = ['a', 'A', 'b', 'readme', 'README', 'straße', 'STRASSE', 'ä', 'Ä', 'readme.set-aside'] as const

export function contentOf({ content }: TreeFile): Uint8Array {
  return CONTENTS[content] as Uint8Array
}

export function hashOf({ content }: TreeFile): string {
  return HASHES[content] as string
}

export function randomPath(dice: Dice): string {
  const depth = 1 + dice.below(3)
  return Array.from({ length: depth }, () => dice.pick(NAMES)).join('/')
}

function randomFile(dice: Dice): TreeFile {
  return { content: dice.below(CONTENTS.length), executable: dice.oneIn(3) }
}

/** Of the entries, those that can be in one release; the later ones give way. */
function sound(entries: Iterable<readonly [string, TreeFile]>): Map<string, TreeFile> {
  const tree = new Map<string, TreeFile>()
  for (const [path, file] of entries) {
    const paths = new PathSet()
    try {
      for (const known of [...tree.keys(), path]) paths.add(known)
    } catch {
      continue // the same file, or its folder, on some system
    }
    tree.set(path, file)
  }
  return tree
}

export function randomTree(dice: Dice): RandomTree {
  const entries = Array.from({ length: 1 + dice.below(9) }, () => [randomPath(dice), randomFile(dice)] as const)
  return sound(entries)
}

function respelled(path: string, dice: Dice): string {
  const others = NAMES.filter((name) => path.split('/').some((part) => foldPath(part) === foldPath(name)))
  const [name] = [dice.pick(others)]
  return path
    .split('/')
    .map((part) => (foldPath(part) === foldPath(name) ? name : part))
    .join('/')
}

/** A release that follows another one: changed in one of the ways that releases change, or quite another. */
export function nextTree(tree: RandomTree, dice: Dice): RandomTree {
  let entries = [...tree]
  for (let change = 1 + dice.below(3); change > 0 && entries.length > 0; change--) {
    const at = dice.below(entries.length)
    const [path, file] = entries[at] as [string, TreeFile]
    const other = dice.below(entries.length)
    switch (dice.below(10)) {
      case 0:
        entries[at] = [respelled(path, dice), file]
        break
      case 1:
        entries = entries.map(([name, entry]): [string, TreeFile] => [respelled(name, dice), entry])
        break
      case 2: // a file becomes a folder
        entries[at] = [`${path}/${dice.pick(NAMES)}`, file]
        break
      case 3: {
        // a folder becomes a file
        const folder = path.split('/').slice(0, -1).join('/')
        if (folder === '') break
        entries = [[folder, file], ...entries.filter(([name]) => !foldPath(name).startsWith(`${foldPath(folder)}/`))]
        break
      }
      case 4: {
        const [otherPath, otherFile] = entries[other] as [string, TreeFile]
        entries[at] = [path, otherFile]
        if (other !== at) entries[other] = [otherPath, file]
        break
      }
      case 5:
        entries[at] = [path, { ...file, executable: !file.executable }]
        break
      case 6:
        entries[at] = [path, { ...file, content: dice.below(CONTENTS.length) }]
        break
      case 7:
        entries.splice(at, 1)
        break
      case 8:
        entries.push([randomPath(dice), randomFile(dice)])
        break
      default:
        entries = [...randomTree(dice), ...entries.slice(0, dice.below(3))]
    }
  }
  const next = sound(entries)
  return next.size === 0 ? randomTree(dice) : next
}

/** A release as the test publisher takes it. */
export function filesOf(tree: RandomTree): TestFiles {
  return Object.fromEntries(
    [...tree].map(([path, file]) => [path, { bytes: contentOf(file), executable: file.executable }]),
  )
}
