import { mkdirSync, readdirSync } from 'node:fs'
import { members } from '../checks/workspace.ts'
import { packMember } from './pack-member.ts'

/**
 * Packs every package that is published into one folder.
 * @param folder that does not exist yet, or is empty.
 * @returns the tarballs by the names of their packages.
 */
export function packRelease(folder: string): Map<string, string> {
  const published = members().filter(({ manifest }) => manifest.private !== true)
  for (const { manifest } of published) {
    if (manifest.version === '0.0.0')
      throw new Error(`Cannot pack ${manifest.name}: it has no version yet; run "pnpm release --cut-version" first`)
    if (!('repository' in manifest))
      throw new Error(
        `Cannot pack ${manifest.name}: it does not name its sources; run "node tooling/pack/set-repository.ts https://host/owner/name" first`,
      )
  }
  mkdirSync(folder, { recursive: true })
  if (readdirSync(folder).length > 0) throw new Error(`Cannot pack into ${folder}: it is not empty`)
  return new Map(published.map((member) => [member.manifest.name, packMember(member, folder)]))
}
