import { describe, expect, it } from 'vitest'
import { addHeadSignature } from '../src/publish/index.ts'
import type { RoleDocument } from '../src/index.ts'
import { Install } from './support/install.ts'
import { keyId, Publisher, signerOf } from './support/publisher.ts'

/** What a static host shows; each publishing step changes one file of it. */
interface Shown {
  logs: readonly Uint8Array[]
  head: Uint8Array
  manifest: Uint8Array
  signatures: Uint8Array
  rolesByVersion: Map<number, Uint8Array>
}

function seenBy(install: Install, shown: Shown): ReturnType<Install['cycle']> {
  const { rolesByVersion, ...rest } = shown
  // A launcher asks for the document that the log seals; one that is not there yet is not there.
  for (const version of [...rolesByVersion.keys()].sort((a, b) => b - a)) {
    const roles = rolesByVersion.get(version)
    const decision = install.cycle({ ...rest, ...(roles !== undefined && { roles }) })
    if (decision.outcome === 'accepted' || version === 1) return decision
    if (decision.outcome === 'refused' && decision.error.code !== 'TRUST_ROLES') return decision
  }
  throw new Error('No role document is shown')
}

const CHANGES: readonly (readonly [string, (roles: RoleDocument) => Partial<RoleDocument>])[] = [
  ['release key', ({ roles }) => ({ roles: { ...roles, release: { keys: [keyId('release 2')], threshold: 1 } } })],
  ['head key', ({ roles }) => ({ roles: { ...roles, head: { keys: [keyId('head 2')], threshold: 1 } } })],
  [
    'both, the old ones revoked',
    () => ({
      roles: { release: { keys: [keyId('release 2')], threshold: 1 }, head: { keys: [keyId('head 2')], threshold: 1 } },
      revokedKeys: [keyId('release 1'), keyId('head 1')],
    }),
  ],
]

describe('changing hands without a gap', () => {
  it.each(CHANGES)(
    '%s: a reader between any two steps is served, and no old key is believed afterwards',
    async (_, change) => {
      const publisher = await Publisher.create()
      const made = await publisher.manifest()
      const shown: Shown = {
        logs: [publisher.log()],
        rolesByVersion: new Map([[1, publisher.rolesBytes[0] as Uint8Array]]),
        head: await publisher.head(made),
        manifest: made.bytes,
        signatures: made.signatures,
      }
      const oldHead = shown.head
      const veterans: Install[] = []
      const look = (step: string): void => {
        const veteran = new Install(publisher.state())
        for (const install of [...veterans, veteran])
          expect([step, seenBy(install, shown).outcome]).toEqual([step, 'accepted'])
        veterans.push(veteran)
      }
      look('before')
      shown.signatures = (await publisher.seal(made.bytes, made.model, ['release 1', 'release 2'])).signatures
      look('manifest signed with both')
      const both = await publisher.head(made)
      shown.head = await addHeadSignature(both, [signerOf('head 2')])
      look('head signed with both')
      await publisher.rotate(change)
      shown.rolesByVersion.set(2, publisher.rolesBytes[1] as Uint8Array)
      look('role document')
      shown.logs = [publisher.log()]
      look('log')
      const newKey = publisher.roles.roles.head.keys.includes(keyId('head 2')) ? 'head 2' : 'head 1'
      shown.head = await publisher.head(made, { signers: [newKey] })
      look('head with the new key alone')

      for (const install of veterans) expect(install.state.roles?.version).toBe(2)
      const thief = await publisher.manifest({ signers: ['release 1'] })
      const [stale] = veterans as [Install]
      const forged = {
        ...shown,
        head: await publisher.head(thief, { signers: ['head 1'] }),
        manifest: thief.bytes,
        signatures: thief.signatures,
      }
      expect(seenBy(stale, forged).outcome).toBe('refused')
      expect(seenBy(stale, { ...shown, head: oldHead }).outcome).toBe('refused')
    },
  )

  it('sealing before signing leaves a gap, which is refused and not believed', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const install = await Install.with(publisher, publisher.input(made, await publisher.head(made)))
    await publisher.rotate(({ roles }) => ({
      roles: { ...roles, release: { keys: [keyId('release 2')], threshold: 1 } },
    }))
    const decision = install.cycle(publisher.input(made, await publisher.head(made)))
    expect(decision).toMatchObject({ outcome: 'refused', trust: 'stale', error: { code: 'MAN_KEY_UNKNOWN' } })
    expect(install.start().playable).toBe(true)
  })
})
