declare module 'noise-handshake' {
  export interface PeerKeys {
    readonly publicKey: Uint8Array
    readonly secretKey: Uint8Array
  }

  /** A handshake; the package has no types of its own. */
  export default class Noise {
    constructor(pattern: 'XX' | 'IK', isInitiator: boolean, staticKeys: PeerKeys)
    readonly complete: boolean
    initialise(prologue: Uint8Array, remoteStatic?: Uint8Array): void
    send(payload?: Uint8Array): Uint8Array
    recv(message: Uint8Array): Uint8Array
  }
}
