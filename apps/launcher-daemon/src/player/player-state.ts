import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isRecord, parseStrictJson } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'

/** What the launcher remembers of this player: where the game is. */
export interface PlayerState {
  readonly installFolder: string | undefined
}

const FILE = 'player-state.json'

/** Reads the state; one that is missing or damaged is empty, and the first page asks again. */
export async function readPlayerState(stateFolder: string): Promise<PlayerState> {
  try {
    const value = parseStrictJson(await readFile(join(stateFolder, FILE)))
    const folder = isRecord(value) && value['schema'] === 1 ? value['install_folder'] : undefined
    return { installFolder: typeof folder === 'string' && folder !== '' ? folder : undefined }
  } catch {
    return { installFolder: undefined }
  }
}

/** Writes the state. */
export async function writePlayerState(stateFolder: string, installFolder: string): Promise<void> {
  const text = `${JSON.stringify({ schema: 1, install_folder: installFolder })}\n`
  await writeFileAtomic(join(stateFolder, FILE), new TextEncoder().encode(text), { mode: 0o600 })
}
