/** Packs every package that is published into one folder: `node tooling/pack-release.ts FOLDER`. Run by the release workflow after the build. */
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { members, root } from './checks/workspace.ts'

const folder = process.argv[2]
if (folder === undefined) {
  console.error('Usage: node tooling/pack-release.ts FOLDER')
  process.exit(2)
}
const target = resolve(root, folder)
mkdirSync(target, { recursive: true })
if (readdirSync(target).length > 0) {
  console.error(`Cannot pack into ${target}: it is not empty`)
  process.exit(2)
}
for (const { path, manifest } of members()) {
  if (manifest.private === true) continue
  if (manifest.version === '0.0.0') {
    console.error(`Cannot pack ${manifest.name}: it has no version yet; run "pnpm exec changeset version" first`)
    process.exit(1)
  }
  const { status } = spawnSync('pnpm', ['pack', '--pack-destination', target], { cwd: path, stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}
