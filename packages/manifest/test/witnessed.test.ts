import { sha256DigestSeal } from '@keyturn/kel'
import { utf8Decode, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import {
  addSignatures,
  appendEntries,
  formatNote,
  formatProof,
  formatVerifierKey,
  parseNote,
  proveInclusion,
  seedNoteSigner,
  signCheckpoint,
  signText,
  tilePath,
} from '@keyturn/tlog'
import type { NoteSigner } from '@keyturn/tlog'
import { parseRoles, parseTrustState, verifyInstalled, verifyRelease, writeTrustState } from '../src/index.ts'
import { formatLogEntry, writeRoles } from '../src/publish/index.ts'
import type { ManifestPin } from '../src/index.ts'
import { DAY, NOW, options, Publisher, seedOf } from './support/publisher.ts'

const HOUR = DAY / 24
const log = seedNoteSigner('log.example', 'note', seedOf('log'))
const witnesses = ['one', 'two', 'three'].map((name) => seedNoteSigner(`${name}.example`, 'cosignature', seedOf(name)))
const policy = [
  `log ${formatVerifierKey(log.key)}`,
  ...witnesses.map(({ key }, at) => `witness w${at} ${formatVerifierKey(key)}`),
  'group most 2 w0 w1 w2',
  'quorum most',
  '',
].join('\n')

/** A proof that a log has one release, signed by some witnesses. */
async function proofOf(pin: ManifestPin, signers: readonly NoteSigner[], by: NoteSigner = log): Promise<Uint8Array> {
  const { sequence: number, sha256 } = pin
  const entry = formatLogEntry({ type: 'release', product: 'metin2', channel: 'stable', number, sha256 })
  const files = new Map<string, Uint8Array>()
  const source = { read: (tile: Parameters<typeof tilePath>[0]) => Promise.resolve(files.get(tilePath(tile))!) }
  const tree = await appendEntries(source, 0, [new Uint8Array([1]), entry])
  for (const tile of tree.tiles) files.set(tilePath(tile), tile.bytes)
  const note = parseNote(await signCheckpoint(tree, by))
  const signatures = await Promise.all(signers.map((signer) => signText(note.text, signer, 1000)))
  const checkpoint = formatNote(addSignatures(note, signatures))
  return formatProof({ index: 1, hashes: await proveInclusion(source, 1, 2), checkpoint, extra: undefined })
}

async function under(graceHours: number): Promise<Publisher> {
  const publisher = await Publisher.create()
  await publisher.rotate(() => ({ log: { policy, graceHours } }))
  return publisher
}

describe('a role document with a log policy', () => {
  it('a release counts with a proof of a quorum, which is remembered and not asked for again', async () => {
    const publisher = await under(0)
    const input = await publisher.release()
    const proof = await proofOf(input.made.pin, witnesses.slice(0, 2))
    expect(proof.length).toBeLessThan(2048)
    const first = verifyRelease({ ...input, proof }, publisher.state(), options())
    expect(first).toMatchObject({
      outcome: 'accepted',
      log: { witnessed: { index: 1, size: 2, origin: 'log.example', signed: 2, of: 3 } },
    })
    expect(parseTrustState(writeTrustState(first.state))).toEqual(first.state)
    expect(verifyRelease(input, first.state, options())).toMatchObject({ outcome: 'accepted', state: first.state })
  })

  it('without a quorum nothing new is installed, and what is installed plays', async () => {
    const publisher = await under(0)
    const first = await publisher.release()
    const proof = await proofOf(first.made.pin, witnesses)
    const installed = verifyRelease({ ...first, proof }, publisher.state(), options())
    const special = await publisher.release()
    const stranger = seedNoteSigner('log.example', 'note', seedOf('thief'))
    const proofs = [
      undefined,
      proof,
      await proofOf(special.made.pin, witnesses.slice(0, 1)),
      await proofOf(special.made.pin, witnesses, stranger),
      new Uint8Array([1, 2, 3]),
    ]
    for (const bad of proofs) {
      const decision = verifyRelease({ ...special, ...(bad && { proof: bad }) }, installed.state, options())
      expect(decision).toMatchObject({
        outcome: 'refused',
        trust: 'stale',
        document: 'proof',
        error: { code: 'MAN_UNWITNESSED' },
      })
    }
    const { manifest, signatures, logs, roles } = first
    const kept = { manifest, signatures, log: logs[0]!, roles, newestRoles: roles }
    expect(verifyInstalled(kept, installed.state)).toMatchObject({ playable: true })
    expect(verifyRelease({ ...special }, installed.state, options({ withoutLog: true }))).toMatchObject({
      outcome: 'accepted',
    })
  })

  it('the grace time begins with the first release without a proof, only once, and ends with a proven one', async () => {
    const publisher = await under(48)
    const one = await publisher.release()
    const first = verifyRelease(one, publisher.state(), options())
    expect(first).toMatchObject({
      outcome: 'accepted',
      log: { unwitnessed: { since: '2026-11-21T00:00:00Z', until: '2026-11-23T00:00:00Z' } },
    })
    expect(parseTrustState(writeTrustState(first.state))).toEqual(first.state)
    const two = await publisher.release()
    const later = verifyRelease(two, first.state, options({ nowMs: NOW + 47 * HOUR }))
    expect(later).toMatchObject({ outcome: 'accepted', log: { unwitnessed: { since: '2026-11-21T00:00:00Z' } } })
    const three = await publisher.release()
    const at48 = { nowMs: NOW + 48 * HOUR }
    expect(verifyRelease(three, later.state, options(at48))).toMatchObject({ error: { code: 'MAN_UNWITNESSED' } })
    const proof = await proofOf(three.made.pin, witnesses)
    const proven = verifyRelease({ ...three, proof }, later.state, options(at48))
    expect(proven).toMatchObject({ outcome: 'accepted', log: { witnessed: { signed: 3 } } })
    const four = await publisher.release()
    expect(verifyRelease(four, proven.state, options(at48))).toMatchObject({
      outcome: 'accepted',
      log: { unwitnessed: { since: '2026-11-23T00:00:00Z' } },
    })
  })

  it('a bad policy, one without a log, and one with keys of other roles are refused', async () => {
    const publisher = await under(48)
    const { roles } = publisher
    expect(parseRoles(writeRoles(roles)).log).toEqual({ policy, graceHours: 48 })
    const refused = expect.objectContaining({ code: 'TRUST_ROLES' }) as unknown
    const own = seedNoteSigner('log.example', 'note', seedOf('release 1'))
    const bad = ['nonsense\n', 'quorum none\n', `log ${formatVerifierKey(own.key)}\nquorum none\n`]
    for (const text of bad)
      expect(() => writeRoles({ ...roles, log: { policy: text, graceHours: 1 } })).toThrow(refused)
    expect(() => writeRoles({ ...roles, log: { policy, graceHours: 721 } })).toThrow(refused)
  })

  it('one that is critical shuts out readers that do not know it: MAN_CRITICAL; what is installed plays', async () => {
    const publisher = await under(0)
    const first = await publisher.release()
    const installed = verifyRelease(
      { ...first, proof: await proofOf(first.made.pin, witnesses) },
      publisher.state(),
      options(),
    )
    // A writer of tomorrow: its document says that a member has to be understood that this reader has never heard of.
    await publisher.rotate(() => ({ critical: ['log'] }))
    expect(parseRoles(writeRoles(publisher.roles)).critical).toEqual(['log'])
    const text = utf8Decode(writeRoles({ ...publisher.roles, version: publisher.roles.version + 1 }))
    const foreign = utf8Encode(
      text.replace(/"critical": \[\s*"log"\s*\]/, '"critical": ["log", "quantum"], "quantum": 1'),
    )
    expect(utf8Decode(foreign)).not.toBe(text)
    publisher.rolesBytes.push(foreign)
    publisher.roles = { ...publisher.roles, version: publisher.roles.version + 1 }
    await publisher.rotate(undefined, [sha256DigestSeal(foreign)])
    const next = await publisher.release()
    const proof = await proofOf(next.made.pin, witnesses)
    const decision = verifyRelease({ ...next, proof }, installed.state, options())
    expect(decision).toMatchObject({
      outcome: 'refused',
      error: { code: 'MAN_CRITICAL', message: expect.stringContaining('"quantum"') as unknown },
    })
    const { manifest, signatures, logs, roles } = first
    const kept = { manifest, signatures, log: logs[0]!, roles, newestRoles: roles }
    expect(verifyInstalled(kept, installed.state)).toMatchObject({ playable: true })
  })

  it('a name in critical that the document does not have is refused: TRUST_ROLES', async () => {
    const { roles } = await Publisher.create()
    for (const critical of [['log'], ['log', 'log'], ['']])
      expect(() => writeRoles({ ...roles, critical })).toThrow(expect.objectContaining({ code: 'TRUST_ROLES' }))
  })
})
