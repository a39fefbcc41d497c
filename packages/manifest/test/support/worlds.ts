import type { Head, ManifestPin, ReleaseInput } from '../../src/index.ts'
import { keyId, NOW, DAY, Publisher } from './publisher.ts'
import type { MadeManifest } from './publisher.ts'

/** Every document that was ever served, and some that a thief of one key could add. */
export interface World {
  readonly publisher: Publisher
  /** Complete honest states, in the order in which they were published. */
  readonly states: readonly (Required<Pick<ReleaseInput, 'head' | 'manifest' | 'signatures' | 'roles' | 'logs'>> & {
    nowMs: number
  })[]
  readonly logs: readonly Uint8Array[]
  readonly roles: readonly Uint8Array[]
  readonly heads: readonly Uint8Array[]
  readonly manifests: readonly { readonly manifest: Uint8Array; readonly signatures: Uint8Array }[]
  /** SHA-256 of every manifest that the publisher meant. */
  readonly honest: ReadonlySet<string>
}

/** Deterministic choices (xorshift). */
function choices(seed: number): (below: number) => number {
  let x = (seed * 2654435761) | 1
  return (below) => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return (x >>> 0) % below
  }
}

type Step = 'release' | 'head' | 'release key' | 'release key stolen' | 'head key' | 'identity' | 'epoch' | 'rollout'
const STEPS: readonly Step[] = [
  'release',
  'release',
  'head',
  'release key',
  'release key stolen',
  'head key',
  'identity',
  'epoch',
  'rollout',
]

/**
 * Builds the history of one publisher: releases, heads, rotations of every key, a raised epoch, rollouts, and thieves.
 */
export async function buildWorld(seed: number, length = 9): Promise<World> {
  const choose = choices(seed)
  const publisher = await Publisher.create({ identity: `identity of ${seed}` })
  const names = { release: 1, head: 1 }
  const states: World['states'][number][] = []
  const [heads, manifests]: [Uint8Array[], { manifest: Uint8Array; signatures: Uint8Array }[]] = [[], []]
  const honest = new Set<string>()
  let nowMs = NOW
  let made: MadeManifest | undefined
  let before: ManifestPin | undefined
  const signers = (role: 'release' | 'head'): { signers: string[] } => ({ signers: [`${role} ${names[role]}`] })

  const publishRelease = async (): Promise<void> => {
    before = made?.pin
    made = await publisher.manifest({
      nowMs,
      notes: `release ${seed}/${publisher.manifestSequence}`,
      ...signers('release'),
    })
    honest.add(made.pin.sha256)
  }
  const serve = async (edit: (head: Head) => Head = (head) => head): Promise<void> => {
    const current = made as MadeManifest
    const renewed = await publisher.seal(current.bytes, current.model, signers('release').signers)
    const head = await publisher.head(renewed, { nowMs, edit, ...signers('head') })
    states.push({ ...publisher.input(renewed, head), nowMs })
    heads.push(head)
    manifests.push({ manifest: renewed.bytes, signatures: renewed.signatures })
  }
  const thieves = async (): Promise<void> => {
    const sequence = publisher.headSequence
    // The release key alone: a manifest that no head pins, or one that only the wrong key pins.
    const forged = await publisher.manifest({
      nowMs,
      notes: `thief ${seed}`,
      place: { sequence: publisher.manifestSequence + 1 },
      ...signers('release'),
    })
    manifests.push({ manifest: forged.bytes, signatures: forged.signatures })
    heads.push(await publisher.head(forged, { nowMs, ...signers('release') }))
    // The head key alone: it may pin what the release key signed, now or before.
    heads.push(
      await publisher.head(made as MadeManifest, {
        nowMs,
        ...signers('head'),
        edit: (head) => ({ ...head, sequence: head.sequence + choose(50) }),
      }),
    )
    publisher.headSequence = sequence
  }

  await publishRelease()
  await serve()
  for (let step = 1; step < length; step++) {
    nowMs += choose(3) * DAY
    const kind = STEPS[choose(STEPS.length)] as Step
    if (kind === 'release') await publishRelease()
    if (kind === 'release key' || kind === 'release key stolen') {
      const old = keyId(`release ${names.release}`)
      names.release += 1
      const next = { keys: [keyId(`release ${names.release}`)], threshold: 1 }
      await publisher.rotate(({ roles, revokedKeys }) => ({
        roles: { ...roles, release: next },
        revokedKeys: kind === 'release key stolen' ? [...revokedKeys, old] : revokedKeys,
      }))
    }
    if (kind === 'head key') {
      names.head += 1
      const next = { keys: [keyId(`head ${names.head}`)], threshold: 1 }
      await publisher.rotate(({ roles }) => ({ roles: { ...roles, head: next } }))
    }
    if (kind === 'identity') await publisher.rotate()
    if (kind === 'epoch') {
      await publisher.rotate(({ epoch }) => ({ epoch: epoch + 1 }))
      publisher.headSequence = 0
      publisher.manifestSequence = 0
      made = undefined
      await publishRelease()
      before = undefined
    }
    const fallback = before
    const rollout = { percent: choose(101), salt: '00112233445566778899aabbccddeeff', paused: choose(4) === 0 }
    await serve(kind === 'rollout' && fallback !== undefined ? (head) => ({ ...head, fallback, rollout }) : undefined)
    if (choose(3) === 0) await thieves()
  }
  return {
    publisher,
    states,
    heads,
    manifests,
    honest,
    logs: publisher.messages.map((_, index) => publisher.log(index + 1)),
    roles: publisher.rolesBytes,
  }
}
