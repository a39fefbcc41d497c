/** Writes the API reference of every package to docs/api. Lives apart because typedoc needs the older TypeScript. */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Application } from 'typedoc'
import { members, root } from '../checks/workspace.ts'

const OUT = join(root, 'docs/api')

// Declarations are what users see; they need no path mapping between the packages.
const entryPoints = members()
  .filter(({ group }) => group === 'packages')
  .flatMap(({ path, manifest }) =>
    Object.values(manifest.exports ?? {}).flatMap((target) => (typeof target === 'string' ? [] : [join(path, target.types)])),
  )
  .filter((file) => existsSync(file))

rmSync(OUT, { recursive: true, force: true })
const application = await Application.bootstrap({
  name: 'Keyturn',
  readme: join(root, 'README.md'),
  entryPoints,
  tsconfig: join(root, 'tooling/api-docs/tsconfig.json'),
  excludeInternal: true,
  excludePrivate: true,
  disableSources: true,
  githubPages: false,
  skipErrorChecking: true,
  validation: { notExported: false, invalidLink: false, notDocumented: false },
})
const project = await application.convert()
if (project === undefined) process.exit(1)
await application.generateDocs(project, OUT)
if (application.logger.hasErrors()) process.exitCode = 1
