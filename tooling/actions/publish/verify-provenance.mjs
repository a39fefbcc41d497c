// Checks that every @keyturn package of an install was built and published by the release workflow of one repository: its
// provenance is signed by that workflow's identity, and is about the very bytes that npm has installed.
//
//   node verify-provenance.mjs FOLDER OWNER/REPOSITORY
//
// Plain JavaScript without dependencies: it runs before anything that was installed does. Sigstore comes with npm.
import { execFileSync } from 'node:child_process'
import { readFileSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { argv, exit } from 'node:process'
import { pathToFileURL } from 'node:url'

const SCOPE = '@keyturn/'
const PREDICATE = 'https://slsa.dev/provenance/v1'
const STATEMENT = 'https://in-toto.io/Statement/v1'
const ISSUER = 'https://token.actions.githubusercontent.com'
const WORKFLOW = '.github/workflows/release.yml'
const RELEASE_TAG = /^refs\/tags\/publish-[0-9A-Za-z.-]+$/
const REPOSITORY = /^[\w.-]+\/[\w.-]+$/

/**
 * Verifies the provenance of every package of the scope that a lock file lists.
 *
 * @param {object} options
 * @param {{ packages?: Record<string, { version?: string, integrity?: string }> }} options.lock - A package-lock.json.
 * @param {string} options.repository - The only repository whose packages are accepted, `owner/name`.
 * @param {(name: string, version: string) => Promise<{ attestations?: { predicateType?: string, bundle?: any }[] }>} options.fetchAttestations
 * @param {(bundle: unknown, identity: { certificateIssuer: string, certificateIdentityURI: string }) => Promise<unknown>} options.verifyBundle
 * Throws unless the bundle is signed by that identity.
 * @returns {Promise<string[]>} What was verified, `name@version`.
 */
export async function verifyProvenance({ lock, repository, fetchAttestations, verifyBundle }) {
  if (!REPOSITORY.test(repository)) throw new Error(`Cannot verify provenance: "${repository}" is not owner/name`)
  const installed = Object.entries(lock.packages ?? {}).flatMap(([place, entry]) => {
    const name = place.split('node_modules/').at(-1) ?? ''
    return name.startsWith(SCOPE) ? [{ name, ...entry }] : []
  })
  if (installed.length === 0) throw new Error(`Cannot verify provenance: the lock file lists no ${SCOPE} package`)
  for (const { name, version, integrity } of installed) {
    const what = `${name}@${version}`
    const sha512 = /^sha512-([0-9A-Za-z+/]{86}==)$/.exec(integrity ?? '')?.[1]
    if (version === undefined || sha512 === undefined)
      throw new Error(`Cannot verify ${what}: the lock file has no SHA-512 of it`)
    const { attestations = [] } = await fetchAttestations(name, version)
    const found = attestations.find(({ predicateType }) => predicateType === PREDICATE)
    if (found === undefined) throw new Error(`Cannot verify ${what}: it has no provenance`)
    const statement = JSON.parse(Buffer.from(found.bundle.dsseEnvelope.payload, 'base64').toString('utf8'))
    const identity = identityOf(statement, {
      what,
      name,
      version,
      repository,
      sha512: Buffer.from(sha512, 'base64').toString('hex'),
    })
    await verifyBundle(found.bundle, { certificateIssuer: ISSUER, certificateIdentityURI: identity })
  }
  return installed.map(({ name, version }) => `${name}@${version}`)
}

/** What the certificate has to name, as an anchored pattern: the workflow and the tag that the statement itself names. */
function identityOf(statement, { what, name, version, repository, sha512 }) {
  if (statement._type !== STATEMENT || statement.predicateType !== PREDICATE)
    throw new Error(`Cannot verify ${what}: its provenance is of an unknown kind`)
  const subject = `pkg:npm/${name.replace('@', '%40')}@${version}`
  const isAboutIt = statement.subject?.some((entry) => entry.name === subject && entry.digest?.sha512 === sha512)
  if (isAboutIt !== true) throw new Error(`Cannot verify ${what}: its provenance is about other bytes`)
  const { repository: from, path, ref } = statement.predicate?.buildDefinition?.externalParameters?.workflow ?? {}
  const wanted = `https://github.com/${repository}`
  if (from !== wanted || path !== WORKFLOW || !RELEASE_TAG.test(String(ref)))
    throw new Error(
      `Cannot verify ${what}: it was published by ${from}/${path} at ${ref}, expected ${wanted}/${WORKFLOW} at a publish tag`,
    )
  return `^${RegExp.escape?.(`${from}/${path}@${ref}`) ?? `${from}/${path}@${ref}`.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`
}

async function main([folder, repository]) {
  if (folder === undefined || repository === undefined) {
    console.error('Usage: node verify-provenance.mjs FOLDER OWNER/REPOSITORY')
    return 2
  }
  const npm = (...args) => execFileSync('npm', args, { encoding: 'utf8', shell: process.platform === 'win32' }).trim()
  const registry = npm('config', 'get', 'registry').replace(/\/+$/, '')
  const { verify } = createRequire(join(npm('root', '--global'), 'npm/package.json'))('sigstore')
  const verified = await verifyProvenance({
    lock: JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8')),
    repository,
    async fetchAttestations(name, version) {
      const answer = await fetch(`${registry}/-/npm/v1/attestations/${encodeURIComponent(name)}@${version}`)
      if (answer.status === 404) return {}
      if (!answer.ok) throw new Error(`Cannot fetch the provenance of ${name}@${version}: status ${answer.status}`)
      return await answer.json()
    },
    verifyBundle: verify,
  })
  for (const what of verified) console.log(`${what}: published by the release workflow of ${repository}`)
  return 0
}

if (argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(argv[1])).href) {
  exit(
    await main(argv.slice(2)).catch((error) => {
      console.error(error instanceof Error ? error.message : error)
      return 1
    }),
  )
}
