import { base64urlEncode } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'

/** Names requests: a random part of this process and a counter. */
export class RequestIds {
  readonly #process: string
  #count = 0

  constructor(random: RandomSource) {
    this.#process = base64urlEncode(random(6))
  }

  /** The next name. */
  next(): string {
    this.#count += 1
    return `${this.#process}-${this.#count.toString(36)}`
  }
}
