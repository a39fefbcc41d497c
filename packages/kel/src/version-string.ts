import { refusal } from './rule.ts'
import { alphabet } from './cesr/codes.ts'

/** Bytes of a version 1 version string. */
export const VERSION_LENGTH = 17

const v1Form = /^KERI([0-9a-f])([0-9a-f])([A-Z]{4})([0-9a-f]{6})_$/
const v2Form = /^KERI([A-Za-z0-9_-]{3})([A-Za-z0-9_-]{3})([A-Z]{4})([A-Za-z0-9_-]{4})\.$/

/** A version string taken apart. */
export interface VersionString {
  readonly major: number
  readonly minor: number
  readonly kind: string
  readonly size: number
}

/** Writes the version string of a KERI v1.0 JSON event of `size` bytes. */
export function formatVersion(size: number): string {
  if (size > 0xffffff) throw new RangeError(`Event of ${size} bytes is larger than a version string can state`)
  return `KERI10JSON${size.toString(16).padStart(6, '0')}_`
}

function base64Number(text: string): number {
  let total = 0
  for (const character of text) total = total * 64 + alphabet.indexOf(character)
  return total
}

/** Parses a version string of either generation; undefined when it is neither. */
export function parseVersion(text: string): VersionString | undefined {
  const v1 = v1Form.exec(text.slice(0, VERSION_LENGTH))
  if (v1 !== null) {
    const [, major, minor, kind, size] = v1 as unknown as [string, string, string, string, string]
    return {
      major: Number.parseInt(major, 16),
      minor: Number.parseInt(minor, 16),
      kind,
      size: Number.parseInt(size, 16),
    }
  }
  const v2 = v2Form.exec(text.slice(0, VERSION_LENGTH + 2))
  if (v2 === null) return undefined
  const [, protocol, , kind, size] = v2 as unknown as [string, string, string, string, string]
  return {
    major: base64Number(protocol.slice(0, 1)),
    minor: base64Number(protocol.slice(1)),
    kind,
    size: base64Number(size),
  }
}

/**
 * Refuses every version but KERI 1.0 JSON, by name.
 *
 * @throws {@link KelError} `KEL_VERSION`.
 */
export function requireSupportedVersion(version: VersionString): void {
  if (version.major !== 1 || version.minor !== 0) {
    throw refusal('KEL_VERSION', `KERI ${version.major}.${version.minor} event, only KERI 1.0 is supported`)
  }
  if (version.kind !== 'JSON') {
    throw refusal('KEL_VERSION', `KERI event in serialisation ${version.kind}, only JSON is supported`)
  }
}
