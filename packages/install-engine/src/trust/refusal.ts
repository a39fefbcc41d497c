import type { ReleaseDecision } from '@keyturn/manifest'
import { isRecord, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { readSmallFile, removeFile, writeSmallFile } from '../disk/disk.ts'
import type { Layout } from '../disk/layout.ts'

/** Why the last offer of the server was refused. */
export interface Refusal {
  readonly code: string
  readonly message: string
  /** RFC 3339. */
  readonly at: string
}

const MAX_BYTES = 16 * 1024
const MOST_LETTERS = 2000
const CODE = /^[A-Z][A-Z0-9_]{1,63}$/

/** The last refusal, while no later offer was accepted. It decides nothing; a damaged file is none. */
export async function readRefusal(fs: FileSystem, layout: Layout): Promise<Refusal | undefined> {
  try {
    const bytes = await readSmallFile(fs, layout.refused, MAX_BYTES)
    const value: unknown = bytes === undefined ? undefined : parseStrictJson(bytes)
    if (!isRecord(value)) return undefined
    const { code, message, at } = value
    if (typeof code !== 'string' || !CODE.test(code)) return undefined
    if (typeof message !== 'string' || typeof at !== 'string' || Number.isNaN(Date.parse(at))) return undefined
    return { code, message: message.slice(0, MOST_LETTERS), at }
  } catch {
    return undefined
  }
}

/** Keeps why an offer was refused; one that was not refused ends it. */
export async function keepRefusal(
  fs: FileSystem,
  layout: Layout,
  decision: ReleaseDecision,
  nowMs: number,
): Promise<void> {
  if (decision.outcome !== 'refused') return await removeFile(fs, layout.refused)
  const { code, message } = decision.error
  const refusal: Refusal = { code, message: message.slice(0, MOST_LETTERS), at: new Date(nowMs).toISOString() }
  await writeSmallFile(fs, layout.refused, utf8Encode(`${JSON.stringify(refusal)}\n`))
}
