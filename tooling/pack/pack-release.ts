/**
 * Packs every package that is published into one folder: `node tooling/pack/pack-release.ts FOLDER`. Run by the release
 * workflow after the build.
 */
import { mkdirSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { members, root } from '../checks/workspace.ts'
import { packMember } from './pack-member.ts'

const folder = process.argv[2]
if (folder === undefined) {
  console.error('Usage: node tooling/pack/pack-release.ts FOLDER')
  process.exit(2)
}
const published = members().filter(({ manifest }) => manifest.private !== true)
for (const { manifest } of published) {
  if (manifest.version === '0.0.0') {
    console.error(`Cannot pack ${manifest.name}: it has no version yet; run "pnpm exec changeset version" first`)
    process.exit(1)
  }
  if (!('repository' in manifest)) {
    console.error(
      `Cannot pack ${manifest.name}: it does not name its sources; run "node tooling/pack/set-repository.ts https://host/owner/name" first`,
    )
    process.exit(1)
  }
}
const target = resolve(root, folder)
mkdirSync(target, { recursive: true })
if (readdirSync(target).length > 0) {
  console.error(`Cannot pack into ${target}: it is not empty`)
  process.exit(2)
}
for (const member of published) console.log(packMember(member, target))
