export { CipherState, MAX_MESSAGE_BYTES, MAX_PLAINTEXT_BYTES, TAG_BYTES } from './cipher-state.ts'
export { NumberedReceiver, NumberedSender } from './explicit-nonce.ts'
export { frameMessage, FrameReader } from './framing.ts'
export { HandshakeGate } from './handshake-gate.ts'
export { HandshakeState } from './handshake-state.ts'
export {
  payloadDigest,
  PUBKY_PROLOGUE,
  signNnAttestation,
  verifyIdentityPayload,
  verifyNnAttestation,
  writeIdentityPayload,
} from './identity-payload.ts'
export { openNoiseStream } from './noise-stream.ts'
export { askOnce, isHandshakeFailure, receiveOnce } from './one-round.ts'
export { handshakePattern, PATTERN_NAMES } from './patterns.ts'
export { REPLAY_WINDOW_WIDTH, ReplayWindow } from './replay-window.ts'
export { DEFAULT_SESSION_LIMITS, MAX_SESSION_PAYLOAD_BYTES, NoiseSession, SessionRegistry } from './session.ts'
export { noiseKeyPair, noiseProtocol } from './suite.ts'

export type { NumberedMessage } from './explicit-nonce.ts'
export type { ByteDuplex, ByteReadable, ByteTransport, ByteWritable } from './framing.ts'
export type { HandshakeGateOptions } from './handshake-gate.ts'
export type { HandshakeOptions, HandshakeResult, NoiseRole } from './handshake-state.ts'
export type { NoiseStream, NoiseStreamOptions } from './noise-stream.ts'
export type { PayloadBinding, PayloadRole, PayloadScheme, VerifiedPayload } from './identity-payload.ts'
export type { AskedQuestion, ReceivedQuestion } from './one-round.ts'
export type { HandshakePattern, Token } from './patterns.ts'
export type { SessionEnd, SessionLimits, SessionOptions } from './session.ts'
export type { CipherFunction, DhFunction, HashFunction, NoiseKeyPair, NoiseProtocol } from './suite.ts'
