import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { members, root } from '../checks/workspace.ts'
import { writeLoneHome } from '../pack/lone-home.ts'
import { packRelease } from '../pack/pack-release.ts'
import { buildDebianPackage } from './debian.ts'
import { run } from './run.ts'

/** One file of a release, for the table. */
export interface Artifact {
  readonly path: string
  readonly bytes: number
  readonly sha256: string
}

interface Licensed {
  readonly name: string
  readonly versions: readonly string[]
}

/** Every package that users install, with its version and license, one a line. */
export function licenceLines(byLicence: Readonly<Record<string, readonly Licensed[]>>): string {
  const lines = Object.entries(byLicence).flatMap(([licence, packages]) =>
    packages.flatMap(({ name, versions }) => versions.map((version) => `${name}\t${version}\t${licence}\n`)),
  )
  return [...new Set(lines)].sort().join('')
}

/** Throws unless two folders have the same files with the same bytes. */
export function requireSameBytes(one: string, other: string): void {
  const [first, second] = [readdirSync(one).sort(), readdirSync(other).sort()]
  const odd = first.find((name, index) => name !== second[index])
  if (odd !== undefined || first.length !== second.length)
    throw new Error(`Packing twice gave different files: ${first.join(', ')}; then ${second.join(', ')}`)
  for (const name of first)
    if (!readFileSync(join(one, name)).equals(readFileSync(join(other, name))))
      throw new Error(`Packing twice gave different bytes: ${name}`)
}

/** The files of a folder with their digests, by path. */
export function listArtifacts(folder: string): Artifact[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path !== 'SHA256SUMS' && statSync(join(folder, path)).isFile())
    .sort()
    .map((path) => {
      const content = readFileSync(join(folder, path))
      return { path, bytes: content.length, sha256: createHash('sha256').update(content).digest('hex') }
    })
}

/** Installs each tarball in an empty folder of its own, and starts its programs. */
function installEachAlone(tarballs: ReadonlyMap<string, string>, work: string): void {
  for (const { folder, manifest } of members().filter(({ manifest: { name } }) => tarballs.has(name))) {
    const home = join(work, 'alone', folder)
    writeLoneHome(home, tarballs, [manifest.name])
    run(home, 'pnpm', 'install', '--prefer-offline', '--ignore-scripts')
    for (const [subpath, target] of Object.entries(manifest.exports ?? {}))
      if (typeof target !== 'string')
        run(home, 'node', '--input-type=module', '-e', `await import('${manifest.name}${subpath.slice(1)}')`)
    for (const program of Object.keys(manifest.bin ?? {})) {
      const said = run(home, join(home, 'node_modules/.bin', program), '--version').trim()
      if (!said.startsWith(manifest.version))
        throw new Error(`${program} --version prints "${said}", expected ${manifest.version}`)
    }
    console.log(`  ${basename(tarballs.get(manifest.name) ?? '')} installs alone`)
  }
}

/**
 * A bill of materials without what differs each time: its number follows from its content, its time is the commit's.
 */
export function stableBill(bill: string, commitMs: number): string {
  const content = JSON.parse(bill) as { serialNumber?: string; metadata: { timestamp: string } }
  content.metadata.timestamp = new Date(commitMs).toISOString()
  delete content.serialNumber
  const digest = createHash('sha256').update(JSON.stringify(content)).digest('hex')
  // A UUID of version 8, which is for numbers that their maker defines.
  const serial = [digest.slice(0, 8), digest.slice(8, 12), `8${digest.slice(13, 16)}`, `8${digest.slice(17, 20)}`]
  content.serialNumber = `urn:uuid:${serial.join('-')}-${digest.slice(20, 32)}`
  return `${JSON.stringify(content, null, 2)}\n`
}

function writeBills(folder: string): void {
  const bill = run(root, 'pnpm', 'sbom', '--prod', '--sbom-format', 'cyclonedx')
  const commitMs = Number(run(root, 'git', 'log', '-1', '--format=%ct')) * 1000
  writeFileSync(join(folder, 'sbom.cyclonedx.json'), stableBill(bill, commitMs))
  const licences = JSON.parse(run(root, 'pnpm', 'licenses', 'list', '--prod', '--recursive', '--json')) as Record<
    string,
    Licensed[]
  >
  writeFileSync(join(folder, 'licenses.tsv'), licenceLines(licences))
}

/**
 * Makes everything that is released of this checkout, which is built and has its versions: tarballs packed twice and
 * compared, bill of materials, licenses, the Debian package of the server where `dpkg-deb` is installed, and the sums.
 * @param folder that does not exist yet.
 */
export function writeArtifacts(folder: string): Artifact[] {
  const work = mkdtempSync(join(tmpdir(), 'keyturn-release-'))
  try {
    mkdirSync(folder)
    const tarballs = packRelease(join(folder, 'tarballs'))
    packRelease(join(work, 'again'))
    requireSameBytes(join(folder, 'tarballs'), join(work, 'again'))
    console.log(`  ${tarballs.size} tarballs, packed twice with the same bytes`)
    installEachAlone(tarballs, work)
    writeBills(folder)
    if (spawnSync('dpkg-deb', ['--version']).status === 0) {
      const name = buildDebianPackage(tarballs, folder)
      mkdirSync(join(work, 'debian'))
      buildDebianPackage(tarballs, join(work, 'debian'))
      if (!readFileSync(join(folder, name)).equals(readFileSync(join(work, 'debian', name))))
        throw new Error(`Building ${name} twice gives two different packages`)
      console.log(`  ${name}, built twice with the same bytes`)
    } else console.log('  no Debian package: this machine has no dpkg-deb')
    const artifacts = listArtifacts(folder)
    writeFileSync(join(folder, 'SHA256SUMS'), artifacts.map(({ sha256, path }) => `${sha256}  ${path}\n`).join(''))
    return artifacts
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
