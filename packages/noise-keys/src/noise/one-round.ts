import { NoiseKeysError } from '../errors.ts'
import { HandshakeState } from './handshake-state.ts'
import type { HandshakeOptions, HandshakeResult } from './handshake-state.ts'

/** A question that is asked and answered within a two-message handshake: no transport phase follows. */
export interface AskedQuestion {
  /** Message 1, to send. */
  readonly message: Uint8Array
  /**
   * Opens message 2 and wipes the handshake.
   *
   * @throws {@link NoiseKeysError} `NK_HANDSHAKE`, `NK_LOW_ORDER`.
   */
  readAnswer(message: Uint8Array): Uint8Array
  /** Wipes the handshake when no answer comes. */
  dispose(): void
}

/** A question that arrived. */
export interface ReceivedQuestion {
  readonly payload: Uint8Array
  /** Static key of who asks, under patterns that carry one. */
  readonly remoteStatic: Uint8Array | undefined
  /** Writes message 2 and wipes the handshake. Once. */
  answer(payload: Uint8Array): Uint8Array
  dispose(): void
}

/**
 * Asks: writes message 1 of a two-message pattern (NK, IK), as the runtime key exchange does.
 *
 * @throws TypeError for a pattern of another length.
 */
export function askOnce(protocol: string, options: Omit<HandshakeOptions, 'role'>, payload: Uint8Array): AskedQuestion {
  const state = twoMessages(new HandshakeState(protocol, { ...options, role: 'initiator' }))
  return {
    message: state.writeMessage(payload),
    readAnswer(message) {
      const answer = state.readMessage(message)
      wipeTransport(state.split())
      return answer
    },
    dispose: () => state.dispose(),
  }
}

/**
 * Opens message 1 of a two-message pattern.
 *
 * @throws {@link NoiseKeysError} `NK_HANDSHAKE`, `NK_LOW_ORDER`: to the other side they are one answer.
 */
export function receiveOnce(
  protocol: string,
  options: Omit<HandshakeOptions, 'role'>,
  message: Uint8Array,
): ReceivedQuestion {
  const state = twoMessages(new HandshakeState(protocol, { ...options, role: 'responder' }))
  const payload = state.readMessage(message)
  return {
    payload,
    remoteStatic: state.remoteStatic,
    answer(answer) {
      const written = state.writeMessage(answer)
      wipeTransport(state.split())
      return written
    },
    dispose: () => state.dispose(),
  }
}

function twoMessages(state: HandshakeState): HandshakeState {
  if (state.protocol.pattern.messages.length === 2) return state
  throw new TypeError(`${state.protocol.name} is not a pattern of two messages`)
}

function wipeTransport({ send, receive }: HandshakeResult): void {
  send.dispose()
  receive.dispose()
}

/** Whether an error means no more to the other side than "this handshake failed". */
export function isHandshakeFailure(error: unknown): boolean {
  return error instanceof NoiseKeysError && ['NK_HANDSHAKE', 'NK_LOW_ORDER', 'NK_LIMIT', 'NK_KEY'].includes(error.code)
}
