import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { Intake } from '../src/intake.ts'
import { KelError } from '../src/index.ts'
import { isKeyEvent, parseMessage } from '../src/message.ts'
import { plainBytes, readFrame } from '../src/stream.ts'
import { forge, inceptionFields, interactionFields, rotationFields } from './support/forge.ts'

// A log of one identity as simple as can be: a list of events, the number of the key in force and of the promised one.
// Commands make right and wrong events from it; the model says what must become of each.
interface ModelEvent {
  readonly said: string
  readonly type: 'icp' | 'rot' | 'ixn'
  readonly keyAfter: number
}

class Model {
  readonly chain: ModelEvent[]
  readonly known = new Set<string>()
  nonce = 100

  readonly prefix: string

  constructor(prefix: string) {
    this.prefix = prefix
    this.chain = [{ said: prefix, type: 'icp', keyAfter: 0 }]
    this.known.add(prefix)
  }

  get last(): ModelEvent {
    return this.chain.at(-1)!
  }

  get lastEstablishment(): number {
    return this.chain.findLastIndex(({ type }) => type !== 'ixn')
  }
}

type Command =
  | {
      readonly kind:
        | 'interact'
        | 'rotate'
        | 'rotate-wrong-key'
        | 'interact-wrong-key'
        | 'repeat'
        | 'tamper'
        | 'wrong-prior'
    }
  | { readonly kind: 'recover' | 'rival' | 'gap'; readonly back: number }

const commands = fc.array(
  fc.oneof(
    fc.constantFrom<Command>(
      { kind: 'interact' },
      { kind: 'interact' },
      { kind: 'rotate' },
      { kind: 'rotate-wrong-key' },
      { kind: 'interact-wrong-key' },
      { kind: 'repeat' },
      { kind: 'tamper' },
      { kind: 'wrong-prior' },
    ),
    fc.record({ kind: fc.constantFrom<'recover' | 'rival' | 'gap'>('recover', 'rival', 'gap'), back: fc.nat(4) }),
  ),
  { minLength: 1, maxLength: 4 },
)

interface Step {
  readonly message: Uint8Array
  readonly expected: string
  readonly take?: { readonly at: number; readonly event: ModelEvent }
}

function rotation(model: Model, at: number, expected: string): Step {
  // Keys count up with the rotations of the chain, so the promised key is known from the place alone.
  const before = model.chain[at - 1]!
  const next = before.keyAfter + 1
  const { said, message } = forge(
    rotationFields(model.prefix, before.said, at, next, { a: [{ n: model.nonce++ }] }),
    next,
  )
  return { message, expected, take: { at, event: { said, type: 'rot', keyAfter: next } } }
}

function interaction(model: Model, at: number, expected: string, signWith?: number): Step {
  const before = model.chain[at - 1]!
  const { said, message } = forge(
    interactionFields(model.prefix, before.said, at, { a: [{ n: model.nonce++ }] }),
    signWith ?? before.keyAfter,
  )
  return { message, expected, take: { at, event: { said, type: 'ixn', keyAfter: before.keyAfter } } }
}

function stepOf(model: Model, command: Command): Step {
  const end = model.chain.length
  switch (command.kind) {
    case 'interact':
      return interaction(model, end, 'accept')
    case 'rotate':
      return rotation(model, end, 'accept')
    case 'interact-wrong-key':
      return interaction(model, end, 'KEL_SIGNATURE', 77)
    case 'rotate-wrong-key': {
      const { message } = forge(
        rotationFields(model.prefix, model.last.said, end, 77, { a: [{ n: model.nonce++ }] }),
        77,
      )
      return { message, expected: 'KEL_NEXT_COMMITMENT' }
    }
    case 'repeat': {
      const again = interaction(model, end, 'accept')
      return again
    }
    case 'tamper': {
      const { message } = interaction(model, end, '')
      const tampered = new Uint8Array(message)
      tampered[message.indexOf(0x7d) - 2]! ^= 1
      return { message: tampered, expected: 'refused' }
    }
    case 'wrong-prior': {
      const { message } = forge(
        interactionFields(model.prefix, model.prefix, end + 0, { a: [{ n: model.nonce++ }] }),
        model.last.keyAfter,
      )
      return { message, expected: end === 1 ? 'accept?' : 'KEL_PREV' }
    }
    case 'gap': {
      const { message } = forge(
        interactionFields(model.prefix, model.last.said, end + 1 + command.back),
        model.last.keyAfter,
      )
      return { message, expected: 'escrow' }
    }
    case 'recover': {
      const at = Math.max(1, end - command.back)
      // Behind the last establishment a rotation may displace interactions; at or before it, it is a rival.
      return at > model.lastEstablishment ? rotation(model, at, 'accept') : rotation(model, at, 'duplicity')
    }
    case 'rival': {
      const at = Math.max(1, end - 1 - command.back)
      return at >= end ? interaction(model, end, 'accept') : interaction(model, at, 'duplicity')
    }
  }
}

function run(sequence: readonly Command[]): number {
  const first = forge(inceptionFields(0), 0)
  const model = new Model(first.said)
  const intake = new Intake()
  const offer = (bytes: Uint8Array): string => {
    try {
      const message = parseMessage(readFrame(plainBytes(bytes), 0))
      if (!isKeyEvent(message)) throw new Error('not an event')
      const judgement = intake.offer(message)
      if (judgement.verdict === 'accept') intake.commit(judgement)
      return judgement.verdict
    } catch (error) {
      if (error instanceof KelError) return error.code
      throw error
    }
  }
  expect(offer(first.message)).toBe('accept')
  for (const command of sequence) {
    const step = stepOf(model, command)
    const found = offer(step.message)
    if (step.expected === 'refused') expect(found).toMatch(/^KEL_/)
    else if (step.expected !== 'accept?') expect(found).toBe(step.expected)
    if (found === 'accept' && step.take !== undefined) {
      model.chain.splice(step.take.at)
      model.chain.push(step.take.event)
    } else if (found === 'accept')
      model.chain.push({ said: intake.logOf(model.prefix).state.said, type: 'ixn', keyAfter: model.last.keyAfter })
    const log = intake.logOf(model.prefix)
    expect(log.events.map(({ said }) => said)).toEqual(model.chain.map(({ said }) => said))
    expect(log.state.said).toBe(model.last.said)
  }
  return sequence.length
}

const runs = Number(process.env['KEL_MODEL_RUNS'] ?? 10_000)

describe('Intake against a simple model', () => {
  it(`agrees on ${runs} random command sequences`, () => {
    let commandCount = 0
    fc.assert(
      fc.property(commands, (sequence) => {
        commandCount += run(sequence)
      }),
      { numRuns: runs },
    )
    expect(commandCount).toBeGreaterThan(runs)
  }, 1_800_000)
})
