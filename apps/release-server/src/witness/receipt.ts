import { keyText } from '@keyturn/kel'

/** One event of a stream: what a receipt speaks about. */
export interface StreamEvent {
  readonly said: string
  readonly prefix: string
  readonly sn: number
  readonly type: string
  /** Literal bytes, which a witness signs. */
  readonly raw: Uint8Array
}

const start = /\{"v":"KERI10JSON([0-9a-f]{6})_","t":"(icp|rot|ixn|dip|drt)","d":"([A-Za-z0-9_-]{44})","i":"([A-Za-z0-9_-]{44})","s":"([0-9a-f]{1,12})"/g

/** Finds the key events of a stream that was checked; their bytes are as they came. */
export function eventsOf(stream: Uint8Array): StreamEvent[] {
  // One character per byte, so that places in the text are places in the bytes.
  const text = Buffer.from(stream).toString('latin1')
  return [...text.matchAll(start)].map((match) => {
    const [, size = '0', type = '', said = '', prefix = '', sn = '0'] = match
    return { said, prefix, type, sn: Number.parseInt(sn, 16), raw: stream.slice(match.index, match.index + Number.parseInt(size, 16)) }
  })
}

/** Prefix of a witness: its key, which can never turn. */
export function witnessPrefix(publicKey: Uint8Array): string {
  return keyText(publicKey, false)
}
