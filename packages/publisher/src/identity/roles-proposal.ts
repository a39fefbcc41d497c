import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseRoles } from '@keyturn/manifest'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { HomePaths } from '../home.ts'
import { readIfThere } from '../records/store.ts'
import type { StoredRoles } from '../records/store.ts'

/** Where the next role document waits for its seal. */
export function proposalPath(paths: HomePaths): string {
  return join(paths.roles, 'proposed.json')
}

/** The proposed role document; undefined when there is none. */
export async function readProposal(paths: HomePaths): Promise<StoredRoles | undefined> {
  const bytes = await readIfThere(proposalPath(paths))
  return bytes && { bytes, document: parseRoles(bytes) }
}

/** Keeps a proposed role document. */
export async function storeProposal(paths: HomePaths, bytes: Uint8Array): Promise<void> {
  await writeFileAtomic(proposalPath(paths), bytes)
}

/** Forgets the proposal once it is sealed. */
export async function dropProposal(paths: HomePaths): Promise<void> {
  await rm(proposalPath(paths), { force: true })
}
