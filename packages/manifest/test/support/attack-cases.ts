import { sha256DigestSeal } from '@keyturn/kel'
import { incept, rotate, seedSigner } from '@keyturn/kel/owner'
import type { KeyState } from '@keyturn/kel'
import type { SignedEvent } from '@keyturn/kel/owner'
import { concatBytes, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  initialTrustState,
  parseHead,
  parseHeadEnvelope,
  parseTrustRoot,
  releaseSteps,
  verifyRelease,
} from '../../src/index.ts'
import { signHead, writeHead, writeRoles } from '../../src/publish/index.ts'
import type { DocumentRequest, Head, ReleaseInput, RoleDocument } from '../../src/index.ts'
import { Install } from './install.ts'
import { keyId, options, publicKeyOf, Publisher, seedOf, signerOf } from './publisher.ts'
import type { PublisherOptions } from './publisher.ts'

/** What a head says. */
export function headOf(envelope: Uint8Array): Head {
  return parseHead(parseHeadEnvelope(envelope).payload)
}

/** Every document that a cycle asks for, answered from the input. */
export function requestsOf(install: Install, input: ReleaseInput): DocumentRequest[] {
  const steps = releaseSteps(install.state, options())
  const asked: DocumentRequest[] = []
  const answers = {
    log: input.logs,
    roles: input.roles,
    kills: input.kills,
    proof: input.proof,
    head: input.head,
    manifest: input.manifest,
    signatures: input.signatures,
    'legacy-signature': undefined,
  }
  let step = steps.next()
  while (step.done !== true) {
    asked.push(step.value)
    step = steps.next(answers[step.value.document])
  }
  return asked
}

/** A rotation that the true state would refuse: made against a state that says what the forger needs. */
async function forgedRotation(state: KeyState, keys: readonly string[], seal: Uint8Array): Promise<SignedEvent> {
  const lie = await incept(
    { keys: [publicKeyOf('liar')], nextKeys: keys.map(publicKeyOf), nextThreshold: 1 },
    seedSigner([seedOf('liar')]),
  )
  const believed = { ...state, nextDigests: lie.state.nextDigests, nextThreshold: lie.state.nextThreshold }
  const plan = {
    keys: keys.map(publicKeyOf),
    threshold: keys.length,
    nextKeys: [publicKeyOf('thief next')],
    seals: [sha256DigestSeal(seal)],
  }
  return rotate(believed, plan, seedSigner(keys.map(seedOf)))
}

function thiefRoles(publisher: Publisher): RoleDocument {
  const role = (name: string): { keys: string[]; threshold: number } => ({ keys: [keyId(name)], threshold: 1 })
  return { ...publisher.roles, version: 2, roles: { release: role('thief release'), head: role('thief head') } }
}

async function thiefInput(
  publisher: Publisher,
  log: Uint8Array,
  event: SignedEvent,
  roles: Uint8Array,
): Promise<ReleaseInput> {
  const made = await publisher.manifest({ signers: ['thief release'] })
  const head: Head = { ...headOf(await publisher.head(made)), log: { sn: event.sn, said: event.said }, rolesVersion: 2 }
  return { ...publisher.input(made, await signHead(writeHead(head), [signerOf('thief head')])), logs: [log], roles }
}

/** All that a thief of the current identity key can make: a rotation to keys nobody promised. */
export async function stolenCurrentKey(publisher: Publisher): Promise<ReleaseInput> {
  const roles = writeRoles(thiefRoles(publisher))
  const event = await forgedRotation(publisher.last.state, ['thief'], roles)
  return thiefInput(publisher, concatBytes(publisher.log(), event.message), event, roles)
}

/** What a thief of the next identity key can make: a valid rotation to their own roles. */
export async function stolenNextKey(publisher: Publisher, twin: Publisher): Promise<ReleaseInput> {
  const roles = writeRoles(thiefRoles(publisher))
  await twin.rotate(undefined, [sha256DigestSeal(roles)])
  return thiefInput(publisher, twin.log(), twin.last, roles)
}

/** A rotation that stands and differs from the publisher's own at the same place. */
export async function rivalRotation(twin: Publisher): Promise<void> {
  await twin.rotate(undefined, [
    sha256DigestSeal(twin.rolesBytes.at(-1) as Uint8Array),
    sha256DigestSeal(utf8Encode('rival')),
  ])
}

/** Paths that no reader may take in place of `config/locale.cfg`; docs/spec/manifest.md §1. */
export const BAD_PATHS: readonly string[] = [
  '../x',
  'a/../../x',
  '/etc/x',
  '\\x',
  'C:\\x',
  'C:x',
  '\\\\host\\s',
  '//host/s',
  'a\\b',
  'a\u0000b',
  'a\u0001b',
  'a\u007fb',
  'a:stream',
  'a*',
  'a?',
  'a"b',
  'a<b',
  'a>b',
  'a|b',
  'CON',
  'con.txt',
  'NUL.',
  'COM1',
  'com¹',
  'LPT0',
  'CONIN$',
  'aux .m2p',
  'dir/prn.cfg',
  'x.',
  'x ',
  'a//b',
  './a',
  'a/.',
  'a/',
  '',
  '\ufeffx',
  'a\u202eb',
  'a\u2066b',
  'a\u200bb',
  'e\u0301',
  'a\ue000\u0378b',
  'METIN2.EXE',
  'metin2.exe/x',
  'pack/ROOT.m2p',
  'Pack',
  'Metin2Launcher.exe',
  '.updates/x',
  '.UPDATES/trust/trust.json',
  '.updates',
  'Runtime-Key.json',
  'runtime-key.json/x',
  `${'a/'.repeat(2100)}x`,
  'x'.repeat(256),
]

/** What a rotation of the root is made of. */
export interface RootSpec {
  /** Keys promised by the inception, and how many of them have to rotate. */
  readonly next: readonly [readonly string[], number]
  /** Keys of the rotation, and how many of them have to sign. */
  readonly to: readonly [readonly string[], number]
  /** A rotation in between, from `next` to itself. */
  readonly intermediate?: boolean
}

const five = ['a', 'b', 'c', 'd', 'e']

/** The 15 root rotations of the conformance suite: name, rotation, places whose signatures stay, answer. */
export const ROOT_CASES: readonly (readonly [string, RootSpec, readonly number[], string])[] = [
  ['1-of-1 to another key', { next: [['a'], 1], to: [['a'], 1] }, [0], 'accepted'],
  ['with signatures nobody needs', { next: [['a', 'b'], 1], to: [['a', 'b'], 1] }, [0, 1], 'accepted'],
  ['3-of-5 by the last three', { next: [five, 3], to: [five, 3] }, [2, 3, 4], 'accepted'],
  ['one key of five replaced', { next: [five, 3], to: [['a', 'b', 'c', 'd', 'x'], 3] }, [0, 1, 2], 'accepted'],
  ['with an intermediate step', { next: [['a'], 1], to: [['b'], 1], intermediate: true }, [0], 'accepted'],
  [
    'all keys replaced after the promise was shown',
    { next: [['a', 'b'], 1], to: [['a', 'x', 'y'], 2] },
    [0, 1],
    'accepted',
  ],
  ['threshold 1 to 2 of 3', { next: [['a', 'b', 'c'], 1], to: [['a', 'b', 'c'], 2] }, [0, 1], 'accepted'],
  ['threshold 2 to 1 of 3', { next: [['a', 'b', 'c'], 2], to: [['a', 'b', 'c'], 1] }, [0, 1], 'accepted'],
  ['1-of-2 to 2-of-2', { next: [['a', 'b'], 1], to: [['a', 'b'], 2] }, [0, 1], 'accepted'],
  ['not by what was promised', { next: [['a'], 1], to: [['x'], 1] }, [0], 'KEL_NEXT_COMMITMENT'],
  ['not signed at all', { next: [['a'], 1], to: [['a'], 1] }, [], 'KEL_UNSIGNED'],
  ['fewer than 3 of 5 new keys', { next: [five, 1], to: [five, 3] }, [0, 1], 'KEL_SIGNATURE'],
  [
    'fewer than 3 of 5 promised keys',
    { next: [five, 3], to: [['a', 'b', 'x', 'y', 'z'], 3] },
    [0, 1, 2],
    'KEL_NEXT_COMMITMENT',
  ],
  ['new threshold missed', { next: [['a', 'b', 'c'], 1], to: [['a', 'b', 'c'], 2] }, [0], 'KEL_SIGNATURE'],
  ['old threshold missed', { next: [['a', 'b', 'c'], 2], to: [['a', 'b', 'c'], 1] }, [0], 'KEL_SIGNATURE'],
]

/** A message with only some of its signatures. */
function keepSignatures({ event, message }: SignedEvent, places: readonly number[]): Uint8Array {
  const text = utf8Decode(message.subarray(event.length))
  const signatures: string[] = []
  for (let at = 4; at < text.length;) {
    const length = text[at] === '2' ? 92 : 88
    signatures.push(text.slice(at, at + length))
    at += length
  }
  const kept = places.map((place) => signatures[place] as string)
  const count = 'ABCDEFGH'[kept.length] as string
  return kept.length === 0 ? event : concatBytes(event, utf8Encode(`-AA${count}${kept.join('')}`))
}

/** What a launcher answers to a log with this rotation and a whole release. */
export async function rootCase({ next, to, intermediate }: RootSpec, signers: readonly number[]): Promise<string> {
  const publisher = await Publisher.create()
  const seals = [sha256DigestSeal(publisher.rolesBytes[0] as Uint8Array)]
  const start = await incept(
    { keys: [publicKeyOf('id')], nextKeys: next[0].map(publicKeyOf), nextThreshold: next[1], traits: ['EO'], seals },
    seedSigner([seedOf('id')]),
  )
  const messages = [start.message]
  let { state } = start
  if (intermediate === true) {
    const between = await rotate(
      state,
      { keys: next[0].map(publicKeyOf), threshold: next[1], nextKeys: to[0].map(publicKeyOf), nextThreshold: 1, seals },
      seedSigner(next[0].map(seedOf)),
    )
    messages.push(between.message)
    state = between.state
  }
  const lie = await incept(
    { keys: [publicKeyOf('id')], nextKeys: to[0].map(publicKeyOf), nextThreshold: 1 },
    seedSigner([seedOf('id')]),
  )
  const promised = intermediate === true ? to[0] : next[0]
  const known = to[0].some((name) => promised.includes(name))
  const believed = {
    ...state,
    nextThreshold: lie.state.nextThreshold,
    ...(!known && { nextDigests: lie.state.nextDigests }),
  }
  const plan = { keys: to[0].map(publicKeyOf), threshold: to[1], nextKeys: [publicKeyOf('later')], seals }
  const rotation = await rotate(believed, plan, seedSigner(to[0].map(seedOf)))
  messages.push(keepSignatures(rotation, signers))
  const made = await publisher.manifest()
  const head = await publisher.head(made, {
    edit: (value) => ({ ...value, log: { sn: rotation.sn, said: rotation.said } }),
  })
  const root = initialTrustState(parseTrustRoot(`did:keri:${start.prefix}?sn=0&said=${start.said}`))
  const decision = verifyRelease({ ...publisher.input(made, head), logs: [concatBytes(...messages)] }, root, options())
  return decision.outcome === 'refused' ? decision.error.code : decision.outcome
}

type KeySet = readonly [readonly string[], number]

/** The 10 rotations of other roles: name, before, after, who signs, accepted. */
export const ROLE_CASES: readonly (readonly [string, KeySet, KeySet, readonly string[], boolean])[] = [
  ['1-of-1 to another key', [['a'], 1], [['b'], 1], ['b'], true],
  ['signed by the old key only', [['a'], 1], [['b'], 1], ['a'], false],
  ['3-of-5 by the last three', [five, 3], [five, 3], ['c', 'd', 'e'], true],
  ['one key of five replaced', [five, 3], [['a', 'b', 'c', 'd', 'x'], 3], ['a', 'b', 'x'], true],
  ['all keys replaced', [five, 3], [['v', 'w', 'x', 'y', 'z'], 3], ['v', 'w', 'x'], true],
  ['threshold 1 to 2 of 3', [['a', 'b', 'c'], 1], [['a', 'b', 'c'], 2], ['a', 'b'], true],
  ['threshold 1 to 2 of 3, signed by one', [['a', 'b', 'c'], 1], [['a', 'b', 'c'], 2], ['a'], false],
  ['threshold 2 to 1 of 3', [['a', 'b', 'c'], 2], [['a', 'b', 'c'], 1], ['c'], true],
  ['1-of-2 to 2-of-2', [['a', 'b'], 1], [['a', 'b'], 2], ['a', 'b'], true],
  ['fewer than 3 of 5', [five, 3], [['a', 'b', 'x', 'y', 'z'], 3], ['c', 'd', 'e', 'a', 'b'], false],
]

/** Whether an install that trusts one key set accepts a release under the next one. */
export async function roleCase(
  role: 'release' | 'head',
  from: KeySet,
  to: KeySet,
  signers: readonly string[],
): Promise<boolean> {
  const start: PublisherOptions =
    role === 'release' ? { release: from[0], releaseThreshold: from[1] } : { head: from[0], headThreshold: from[1] }
  const publisher = await Publisher.create(start)
  const by = (names: readonly string[]): [object, object] =>
    role === 'release' ? [{ signers: names }, {}] : [{}, { signers: names }]
  const install = await Install.with(publisher, await publisher.release(...by(from[0])))
  await publisher.rotate(({ roles }) => ({ roles: { ...roles, [role]: { keys: to[0].map(keyId), threshold: to[1] } } }))
  return install.cycle(await publisher.release(...by(signers))).outcome === 'accepted'
}
