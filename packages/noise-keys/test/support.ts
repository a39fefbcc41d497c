import { existsSync, readFileSync } from 'node:fs'
import { hexDecode } from '@keyturn/primitives'

export { codeOf, rejectionOf } from '../../../tooling/vitest/codes.ts'

/** A vector file of this package. */
export function ownVectors<Shape>(name: string): Shape {
  return JSON.parse(readFileSync(new URL(`./vectors/${name}`, import.meta.url), 'utf8')) as Shape
}

/** A published vector file, read in place beside the repository; `undefined` where it is not there. */
export function publishedVectors(name: string): string | undefined {
  // What `fetch-vectors.ts` fetched; or a folder of vectors beside the checkout.
  const places = [`vectors/fetched/${name.replace(/^noise\//, '')}`, `../../../../shared/vectors/${name}`]
  const url = places.map((place) => new URL(place, import.meta.url)).find((place) => existsSync(place))
  if (url !== undefined) return readFileSync(url, 'utf8')
  console.info(
    `${name}: the published vectors are not there, skipped; "node test/fetch-vectors.ts" fetches those of Noise`,
  )
  return undefined
}

/** Hexadecimal or nothing. */
export function hex(text: string): Uint8Array {
  return hexDecode(text)
}
