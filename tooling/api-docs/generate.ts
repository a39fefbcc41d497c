/**
 * Writes the API reference of every package to docs/api. A package of its own because typedoc needs an older
 * TypeScript.
 */
import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Application } from 'typedoc'
import type { DeclarationReflection } from 'typedoc'
import { members, root } from '../checks/workspace.ts'

const OUT = join(root, 'docs/api')

// Users see the declarations, which need no path mapping between packages.
const entryPoints = members()
  .filter(({ group }) => group === 'packages')
  .flatMap(({ path, manifest }) =>
    Object.values(manifest.exports ?? {}).flatMap((target) =>
      typeof target === 'string' ? [] : [join(path, target.types)],
    ),
  )
  .filter((file) => existsSync(file))

rmSync(OUT, { recursive: true, force: true })
const application = await Application.bootstrap({
  name: 'Keyturn',
  readme: join(root, 'tooling/api-docs/README.md'),
  entryPoints,
  tsconfig: join(root, 'tooling/api-docs/tsconfig.json'),
  excludeInternal: true,
  excludePrivate: true,
  disableSources: true,
  githubPages: false,
  skipErrorChecking: true,
  // Named by a comment, and public through another type only.
  externalSymbolLinkMappings: { '@keyturn/vault-kdf': { 'SweepJob.failures': '#' } },
  validation: { notExported: false, invalidLink: true, notDocumented: false },
})
// An entry point may refer to what another one of its package exports, such as its error class.
application.converter.addUnknownSymbolResolver(({ symbolReference }, reflection) => {
  const name = symbolReference?.path?.[0]?.path
  const from = (module: DeclarationReflection): number => commonStart(module.name, reflection.getFullName())
  const modules = (reflection.project.children ?? []).toSorted((a, b) => from(b) - from(a))
  const target = modules.flatMap((module) => module.children ?? []).find((child) => child.name === name)
  return target === undefined ? undefined : { target, caption: target.name }
})

function commonStart(left: string, right: string): number {
  let length = 0
  while (length < left.length && left[length] === right[length]) length++
  return length
}

const project = await application.convert()
if (project === undefined) process.exit(1)
// Modules are called what users import: `noise-keys/dist/noise` is `@keyturn/noise-keys/noise`.
for (const module of project.children ?? []) module.name = `@keyturn/${module.name.replace('/dist', '')}`
application.validate(project)
await application.generateDocs(project, OUT)
if (application.logger.hasErrors() || application.logger.hasWarnings()) process.exitCode = 1
