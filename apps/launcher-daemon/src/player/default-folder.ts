import { statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import type { PlayerConfig } from '../player-config.ts'

/** What decides where the game goes unless the player says otherwise. */
export interface FolderContext {
  readonly root: string
  readonly config: PlayerConfig
}

/**
 * The folder that the first page offers: `game` beside a launcher that has a folder of its own, else a folder with the
 * game's name beside it (a portable launcher may lie among downloads).
 * On Linux the launcher itself often has the game's name: then the folder gets another one.
 */
export function defaultFolder({ root, config }: FolderContext): string {
  const isOwn = [config.id, 'launcher'].includes(basename(root))
  const [parent, name] = isOwn ? [basename(root) === 'launcher' ? dirname(root) : root, 'game'] : [root, config.name]
  const place = join(parent, name)
  return isFile(place) ? `${place} files` : place
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true
}
