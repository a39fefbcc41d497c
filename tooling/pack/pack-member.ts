import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Member } from '../checks/workspace.ts'
import { shippedDocuments } from './shipped-documents.ts'

/**
 * Older compilers have no generic `Uint8Array` and would read the declarations as `any`, or with 56 errors of their
 * own.
 */
export const LEAST_TYPESCRIPT = '5.7'
const REFUSAL = 'needs-typescript-5.7.d.ts'

type Conditions = Readonly<Record<string, unknown>>
interface Shipped {
  readonly name: string
  readonly exports?: Readonly<Record<string, string | Conditions>>
  readonly repository?: { readonly url: string }
}

function run(cwd: string, program: string, ...args: readonly string[]): void {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}${error?.message ?? ''}`)
}

/** Each entry point says in words that the compiler is too old. */
function refuseOldTypeScript(folder: string, manifest: Shipped): void {
  const exports = Object.entries(manifest.exports ?? {}).map(([subpath, target]) =>
    typeof target === 'object' && 'types' in target
      ? [subpath, { [`types@<${LEAST_TYPESCRIPT}`]: `./${REFUSAL}`, ...target }]
      : [subpath, target],
  )
  writeFileSync(
    join(folder, 'package.json'),
    `${JSON.stringify({ ...manifest, exports: Object.fromEntries(exports) }, null, 2)}\n`,
  )
  const words = `${manifest.name} needs TypeScript ${LEAST_TYPESCRIPT} or newer`
  writeFileSync(join(folder, REFUSAL), `// ${words}.\nexport type { needed } from '${words}'\n`)
}

/** Same input, same bytes: order, owners and times of a tarball say nothing of the machine. */
function writeTarball(folder: string, tarball: string): void {
  const tar = `${tarball}.tar`
  const owner = ['--owner=0', '--group=0', '--numeric-owner', '--mtime=@0', '--mode=u+rwX,go=rX']
  run(folder, 'tar', '--sort=name', '--format=ustar', ...owner, '-cf', tar, 'package')
  run(folder, 'gzip', '-9', '-n', tar)
  run(folder, 'mv', `${tar}.gz`, tarball)
}

/**
 * Packs a member into a tarball for npm and returns its path. To what `pnpm pack` puts in come the documents that the
 * README links to, and the refusal of compilers that are too old.
 * @param target an existing folder.
 */
export function packMember({ group, folder, path }: Member, target: string): string {
  const work = mkdtempSync(join(tmpdir(), 'keyturn-pack-'))
  try {
    run(path, 'pnpm', 'pack', '--pack-destination', work)
    const name = readdirSync(work).find((file) => file.endsWith('.tgz'))
    if (name === undefined) throw new Error(`pnpm pack left no tarball of ${folder}`)
    run(work, 'tar', '-xzf', name)
    const content = join(work, 'package')
    const manifest = JSON.parse(readFileSync(join(content, 'package.json'), 'utf8')) as Shipped
    const sources = manifest.repository?.url.replace(/^git\+/, '').replace(/\.git$/, '/blob/main')
    for (const { path: place, text } of shippedDocuments(`${group}/${folder}`, sources)) {
      mkdirSync(dirname(join(content, place)), { recursive: true })
      writeFileSync(join(content, place), text)
    }
    refuseOldTypeScript(content, manifest)
    const tarball = join(target, name)
    writeTarball(work, tarball)
    return tarball
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
