import { existsSync, readFileSync } from 'node:fs'
import { hexDecode } from '@keyturn/primitives'

export { codeOf, rejectionOf } from '../../../tooling/vitest/codes.ts'

/** A vector file of this package. */
export function ownVectors<Shape>(name: string): Shape {
  return JSON.parse(readFileSync(new URL(`./vectors/${name}`, import.meta.url), 'utf8')) as Shape
}

/** A published vector file, read in place beside the repository; `undefined` where it is not there. */
export function publishedVectors(name: string): string | undefined {
  const url = new URL(`../../../../shared/vectors/${name}`, import.meta.url)
  if (existsSync(url)) return readFileSync(url, 'utf8')
  console.info(`${name}: the published vectors are not there, skipped`)
  return undefined
}

/** Hexadecimal or nothing. */
export function hex(text: string): Uint8Array {
  return hexDecode(text)
}
