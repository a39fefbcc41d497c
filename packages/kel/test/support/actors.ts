import { concatBytes, ed25519PublicKey } from '@keyturn/primitives'
import { incept, interact, rotate, seedSigner } from '../../src/owner/index.ts'
import type { KeyState } from '../../src/index.ts'
import type { InceptionPlan, RotationPlan, SignedEvent, Signer } from '../../src/owner/index.ts'

/** The n-th test seed. */
export function seed(n: number): Uint8Array {
  const bytes = new Uint8Array(32)
  new DataView(bytes.buffer).setUint32(28, n + 1)
  return bytes
}

/** Public key of the n-th test seed. */
export function key(n: number): Uint8Array {
  return ed25519PublicKey(seed(n))
}

/** Signer over some test seeds. */
export function signer(...numbers: readonly number[]): Signer {
  return seedSigner(numbers.map(seed))
}

/** An identity of one key whose next keys are the following test seeds. */
export class Actor {
  readonly messages: Uint8Array[] = []
  #current: number
  #state: KeyState | undefined

  private constructor(first: number) {
    this.#current = first
  }

  static async start(first = 0, plan: Partial<InceptionPlan> = {}): Promise<Actor> {
    const actor = new Actor(first)
    actor.#take(await incept({ keys: [key(first)], nextKeys: [key(first + 1)], ...plan }, signer(first)))
    return actor
  }

  get state(): KeyState {
    if (this.#state === undefined) throw new Error('not started')
    return this.#state
  }

  /** Number of the seed in force. */
  get current(): number {
    return this.#current
  }

  get log(): Uint8Array {
    return concatBytes(...this.messages)
  }

  #take(event: SignedEvent): SignedEvent {
    this.messages.push(event.message)
    this.#state = event.state
    return event
  }

  async rotate(plan: Partial<RotationPlan> = {}): Promise<SignedEvent> {
    const next = this.#current + 1
    const event = this.#take(
      await rotate(this.state, { keys: [key(next)], nextKeys: [key(next + 1)], ...plan }, signer(next)),
    )
    this.#current = next
    return event
  }

  async interact(...seals: Parameters<typeof interact>[1]): Promise<SignedEvent> {
    return this.#take(await interact(this.state, seals, signer(this.#current)))
  }
}
