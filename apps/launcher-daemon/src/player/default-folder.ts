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
 */
export function defaultFolder({ root, config }: FolderContext): string {
  const isOwn = [config.id, 'launcher'].includes(basename(root))
  if (!isOwn) return join(root, config.name)
  return basename(root) === 'launcher' ? join(dirname(root), 'game') : join(root, 'game')
}
