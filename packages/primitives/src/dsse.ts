import { concatBytes } from './bytes.ts'
import { utf8Encode } from './encodings.ts'

/**
 * The bytes that a DSSE signature covers: the pre-authentication encoding of DSSE v1.0.2,
 * `DSSEv1 <type length> <type> <body length> <body>` with lengths in ASCII decimal.
 *
 * @param payloadType - Media type of the body; keeps one kind of document from passing for another.
 * @param body - The literal bytes that are signed.
 */
export function dssePae(payloadType: string, body: Uint8Array): Uint8Array<ArrayBuffer> {
  const type = utf8Encode(payloadType)
  return concatBytes(utf8Encode(`DSSEv1 ${type.length} `), type, utf8Encode(` ${body.length} `), body)
}
