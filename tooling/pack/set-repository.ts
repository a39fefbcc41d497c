/**
 * Writes the address of the sources into each package that is published. npm compares it with the signer of the
 * provenance.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { members } from '../checks/workspace.ts'

const address = process.argv[2]
if (address === undefined || !URL.canParse(address)) {
  console.error('Usage: node tooling/pack/set-repository.ts https://host/owner/name')
  process.exit(2)
}
for (const { group, folder, path, manifest } of members()) {
  if (manifest.private === true) continue
  const file = join(path, 'package.json')
  const content = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>
  content['homepage'] = `${address}/tree/main/${group}/${folder}#readme`
  content['bugs'] = { url: `${address}/issues` }
  content['repository'] = { type: 'git', url: `git+${address}.git`, directory: `${group}/${folder}` }
  writeFileSync(file, `${JSON.stringify(content, null, 2)}\n`)
}
