import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const SCRIPT = new URL('../../../tooling/actions/publish/verify-provenance.mjs', import.meta.url)

interface Identity {
  readonly certificateIssuer: string
  readonly certificateIdentityURI: string
}
interface Options {
  lock: unknown
  repository: string
  fetchAttestations: (name: string, version: string) => Promise<unknown>
  verifyBundle: (bundle: unknown, identity: Identity) => Promise<unknown>
}
const { verifyProvenance } = (await import(SCRIPT.href)) as {
  verifyProvenance: (options: Options) => Promise<string[]>
}

const bytesOf = (name: string): Buffer => createHash('sha512').update(name).digest()
const entry = (name: string): object => ({ version: '1.2.3', integrity: `sha512-${bytesOf(name).toString('base64')}` })
const LOCK = {
  packages: {
    '': {},
    'node_modules/@keyturn/cli': entry('@keyturn/cli'),
    'node_modules/@keyturn/cli/node_modules/@keyturn/kel': entry('@keyturn/kel'),
    'node_modules/commander': entry('commander'),
  },
}
const WORKFLOW = {
  repository: 'https://github.com/your-org/keyturn',
  path: '.github/workflows/release.yml',
  ref: 'refs/tags/publish-2026-12-01',
}

function statement(name: string, workflow: object = WORKFLOW, sha512 = bytesOf(name).toString('hex')): object {
  return {
    _type: 'https://in-toto.io/Statement/v1',
    predicateType: 'https://slsa.dev/provenance/v1',
    subject: [{ name: `pkg:npm/${name.replace('@', '%40')}@1.2.3`, digest: { sha512 } }],
    predicate: { buildDefinition: { externalParameters: { workflow } } },
  }
}

function answer(content: object): object {
  const payload = Buffer.from(JSON.stringify(content)).toString('base64')
  return { attestations: [{ predicateType: 'https://slsa.dev/provenance/v1', bundle: { dsseEnvelope: { payload } } }] }
}

function run(change: Partial<Options> = {}): Promise<string[]> {
  return verifyProvenance({
    lock: LOCK,
    repository: 'your-org/keyturn',
    fetchAttestations: (name) => Promise.resolve(answer(statement(name))),
    verifyBundle: () => Promise.resolve(),
    ...change,
  })
}

describe('verifyProvenance()', () => {
  it('verifies every package of ours, nested ones included, and leaves the others to the registry’s signatures', async () => {
    const identities: Identity[] = []
    const verifyBundle = (_bundle: unknown, identity: Identity): Promise<void> => {
      identities.push(identity)
      return Promise.resolve()
    }
    expect(await run({ verifyBundle })).toEqual(['@keyturn/cli@1.2.3', '@keyturn/kel@1.2.3'])
    expect(identities).toHaveLength(2)
    const [first] = identities
    expect(first?.certificateIssuer).toBe('https://token.actions.githubusercontent.com')
    const signer = new RegExp(first?.certificateIdentityURI ?? '')
    const name = `${WORKFLOW.repository}/${WORKFLOW.path}@${WORKFLOW.ref}`
    expect(signer.test(name)).toBe(true)
    // Sigstore takes the name for a pattern: it is anchored, and its dots are dots.
    for (const other of [`${name}-2`, `x${name}`, name.replace('github.com', 'githubxcom')])
      expect(signer.test(other)).toBe(false)
  })

  it('refuses a package without provenance, as a stolen token would publish it', async () => {
    await expect(run({ fetchAttestations: () => Promise.resolve({}) })).rejects.toThrow('no provenance')
    const publishOnly = {
      attestations: [{ predicateType: 'https://github.com/npm/attestation/tree/main/specs/publish/v0.1' }],
    }
    await expect(run({ fetchAttestations: () => Promise.resolve(publishOnly) })).rejects.toThrow('no provenance')
  })

  it('refuses provenance of other bytes, or of another package', async () => {
    const other = (name: string): Promise<object> => Promise.resolve(answer(statement(name, WORKFLOW, '00'.repeat(64))))
    await expect(run({ fetchAttestations: other })).rejects.toThrow('other bytes')
    await expect(run({ fetchAttestations: () => Promise.resolve(answer(statement('@keyturn/cli'))) })).rejects.toThrow(
      '@keyturn/kel@1.2.3',
    )
  })

  it.each([
    ['a fork', { ...WORKFLOW, repository: 'https://github.com/somebody/keyturn' }],
    ['another workflow', { ...WORKFLOW, path: '.github/workflows/ci.yml' }],
    ['a branch', { ...WORKFLOW, ref: 'refs/heads/main' }],
    ['a tag of another kind', { ...WORKFLOW, ref: 'refs/tags/v1' }],
    ['nothing named', {}],
  ])('refuses provenance of %s', async (_name, workflow) => {
    await expect(
      run({ fetchAttestations: (name) => Promise.resolve(answer(statement(name, workflow))) }),
    ).rejects.toThrow('published by')
  })

  it('refuses what Sigstore refuses, a lock file without hashes or without our packages, and a repository that is none', async () => {
    await expect(run({ verifyBundle: () => Promise.reject(new Error('certificate identity error')) })).rejects.toThrow(
      'certificate',
    )
    await expect(run({ lock: { packages: { 'node_modules/@keyturn/cli': { version: '1.2.3' } } } })).rejects.toThrow(
      'SHA-512',
    )
    await expect(run({ lock: {} })).rejects.toThrow('no @keyturn/')
    await expect(run({ repository: '' })).rejects.toThrow('owner/name')
  })

  it('says how it is called', () => {
    const { status, stderr } = spawnSync(process.execPath, [fileURLToPath(SCRIPT)], { encoding: 'utf8' })
    expect([status, stderr.split(':')[0]]).toEqual([2, 'Usage'])
  })
})
