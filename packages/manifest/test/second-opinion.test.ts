import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { Metadata, MetadataKind } from '@tufjs/models'
import { utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { haveVectors, vectorPath } from './conformance.ts'
import { ROLE_CASES, roleCase, ROOT_CASES, rootCase } from './support/attack-cases.ts'
import type { RootSpec } from './support/attack-cases.ts'
import { repository, rootDocument, TufClient } from './support/tuf-repository.ts'
import type { KeySet, TufRoles } from './support/tuf-repository.ts'

// Every rotation case is also published as a TUF repository and read by tuf-js: both have to say the same.
const manifest = utf8Encode('{"version":"2026.11.21-1"}')
const others: Omit<TufRoles, 'root'> = { targets: [['release'], 1], timestamp: [['head'], 1] }
const online = { targets: ['release'], timestamp: ['head'] }

async function tufRootCase({ next, to, intermediate }: RootSpec, places: readonly number[]): Promise<boolean> {
  const signers = places.map((place) => to[0][place] as string)
  const first = rootDocument(1, { root: next, ...others }, next[0])
  const between = intermediate === true ? [rootDocument(2, { root: to, ...others }, [...next[0], ...to[0]])] : []
  const version = between.length + 2
  const last = rootDocument(version, { root: to, ...others }, signers)
  const client = await TufClient.create(first)
  try {
    return await client.accepts(repository(version, [first, ...between, last], manifest, online), version)
  } finally {
    await client.close()
  }
}

async function tufRoleCase(
  role: 'release' | 'head',
  from: KeySet,
  to: KeySet,
  signers: readonly string[],
): Promise<boolean> {
  const root: KeySet = [['root'], 1]
  const of = (keys: KeySet): TufRoles =>
    role === 'release'
      ? { root, targets: keys, timestamp: others.timestamp }
      : { root, targets: others.targets, timestamp: keys }
  const by = (names: readonly string[]): typeof online =>
    role === 'release' ? { ...online, targets: [...names] } : { ...online, timestamp: [...names] }
  const first = rootDocument(1, of(from), ['root'])
  const second = rootDocument(2, of(to), ['root'])
  const client = await TufClient.create(first)
  try {
    expect(await client.accepts(repository(1, [first], manifest, by(from[0])), 1)).toBe(true)
    return await client.accepts(repository(2, [first, second], manifest, by(signers)), 2)
  } finally {
    await client.close()
  }
}

describe('tuf-js as a second opinion', () => {
  it('says the same in all 15 root rotations', async () => {
    expect(ROOT_CASES).toHaveLength(15)
    for (const [name, spec, places, answer] of ROOT_CASES) {
      expect([name, await rootCase(spec, places), await tufRootCase(spec, places)]).toEqual([
        name,
        answer,
        answer === 'accepted',
      ])
    }
  })

  it('says the same in all 10 rotations of each role', async () => {
    for (const role of ['release', 'head'] as const) {
      for (const [name, from, to, signers, accepted] of ROLE_CASES) {
        expect([
          role,
          name,
          await roleCase(role, from, to, signers),
          await tufRoleCase(role, from, to, signers),
        ]).toEqual([role, name, accepted, accepted])
      }
    }
  })
})

interface RootJson {
  readonly signed: {
    readonly version: number
    readonly keys: Record<string, { readonly keytype: string; readonly keyval: { readonly public: string } }>
    readonly roles: { readonly root: { readonly keyids: readonly string[]; readonly threshold: number } }
  }
  readonly signatures: readonly { readonly keyid: string; readonly sig: string }[]
}

describe.skipIf(!haveVectors)('published TUF root chains', () => {
  const folders = ['sigstore-root-signing', 'tuf-on-ci-0.11'].map((name) =>
    vectorPath(`tuf-conformance/static_data/${name}`),
  )

  function roots(folder: string): RootJson[] {
    const files = existsSync(folder) ? (readdirSync(folder, { recursive: true }) as string[]) : []
    return files
      .filter((name) => /(?:^|\/)[0-9]+\.root\.json$/.test(name))
      .map((name) => JSON.parse(readFileSync(`${folder}/${name}`, 'utf8')) as RootJson)
      .sort((a, b) => a.signed.version - b.signed.version)
  }

  it('tuf-js accepts each step, and none with a version left out or a signature changed', () => {
    let steps = 0
    for (const chain of folders.map(roots)) {
      for (let index = 1; index < chain.length; index++) {
        const [old, next] = [chain[index - 1], chain[index]].map((root) =>
          Metadata.fromJSON(MetadataKind.Root, root as never),
        )
        expect(() => old?.verifyDelegate(MetadataKind.Root, next as never)).not.toThrow()
        const broken = structuredClone(chain[index]) as unknown as { signatures: { sig: string }[] }
        for (const signature of broken.signatures)
          signature.sig = signature.sig.replace(/.$/, (digit) => (digit === '0' ? '1' : '0'))
        expect(() =>
          old?.verifyDelegate(MetadataKind.Root, Metadata.fromJSON(MetadataKind.Root, broken as never) as never),
        ).toThrow()
        steps += 1
      }
    }
    expect(steps).toBeGreaterThanOrEqual(11)
  })

  it('the same keys and thresholds give the same answer in our log', async () => {
    let steps = 0
    for (const chain of folders.map(roots)) {
      for (let index = 1; index < chain.length; index++) {
        const [old, next] = [chain[index - 1], chain[index]] as [RootJson, RootJson]
        const [from, to] = [old.signed.roles.root, next.signed.roles.root]
        // Who signed is tuf-js's word; what that is worth under old and new thresholds is ours.
        const signers = to.keyids.flatMap((keyid, place) => (hasSigned(next, keyid) ? [place] : []))
        const spec: RootSpec = { next: [from.keyids, from.threshold], to: [to.keyids, to.threshold] }
        const kept = signers.filter((place) => from.keyids.includes(to.keyids[place] as string))
        expect([next.signed.version, signers.length >= to.threshold]).toEqual([next.signed.version, true])
        // Where the publisher gave every key a new id, the old ones are not among the new: a log would reveal both.
        expect([next.signed.version, (await rootCase(spec, signers)) === 'accepted']).toEqual([
          next.signed.version,
          kept.length >= from.threshold,
        ])
        const tooFew = signers.slice(0, to.threshold - 1)
        expect([next.signed.version, (await rootCase(spec, tooFew)) === 'accepted']).toEqual([
          next.signed.version,
          false,
        ])
        steps += 1
      }
    }
    expect(steps).toBeGreaterThanOrEqual(11)
  })
})

/** Whether a key has validly signed a root, by tuf-js. */
function hasSigned(root: RootJson, keyid: string): boolean {
  const metadata = Metadata.fromJSON(MetadataKind.Root, structuredClone(root) as never)
  try {
    metadata.signed.keys[keyid]?.verifySignature(metadata)
    return metadata.signed.keys[keyid] !== undefined
  } catch {
    return false
  }
}
