import { printable } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { utf8 } from './length-prefixed.ts'
import { MAX_ID_BYTES } from './limits.ts'

/** Depth of sealing: 0 at rest, 1 access-gated (policy id), 2 session-bound (policy and session id). */
export type Layer = 0 | 1 | 2

/** The tag of each layer in key derivation, fixed by HexVault. */
export const layerTags = ['rest', 'access', 'session'] as const

/** The layers by name. */
export const layers = { atRest: 0, accessGated: 1, sessionBound: 2 } as const satisfies Record<string, Layer>

/** What a token stands for. Ids are labels in the derivation, not secrets. */
export interface LayerContext {
  /** Access policy id; needed for layers 1 and 2. */
  readonly policy?: string | undefined
  /** Session id; needed for layer 2. */
  readonly session?: string | undefined
}

/** Name of one record. */
export interface RecordId {
  readonly partition: string
  readonly cell: string
  readonly name: string
}

/** Where a plaintext is sealed to: all of it goes into the keys, so it opens nowhere else. */
export interface Place extends RecordId {
  readonly layer: Layer
  readonly context: LayerContext
}

/**
 * Checks an id: 1 to 255 bytes of UTF-8 in normal form C, no NUL, no lone surrogate.
 *
 * @throws VaultError `VK_INFO`.
 */
export function checkId(value: string, field: string): void {
  if (/^[\x20-\x7e]{1,255}$/.test(value)) return // most are
  const length = value.isWellFormed() ? utf8(value).length : 0
  if (length >= 1 && length <= MAX_ID_BYTES && !value.includes('\0') && value.normalize('NFC') === value) return
  throw new VaultError(
    'VK_INFO',
    `Id "${printable(value)}" of the ${field} is not 1 to 255 bytes of UTF-8 in normal form C`,
    {
      details: { field },
    },
  )
}

/** Checks the name of a record, which alone may be empty: HexVault's cells allow that. */
export function checkName(name: string): void {
  if (name !== '') checkId(name, 'name')
}

/** Checks a record's three ids. */
export function checkRecordId(id: RecordId): void {
  checkId(id.partition, 'partition')
  checkId(id.cell, 'cell')
  checkName(id.name)
}

/** Whether a number is a layer. */
export function isLayer(value: number): value is Layer {
  return value === 0 || value === 1 || value === 2
}

/** The context of each layer from 0 to `layer`: empty at rest, then policy, then session. */
export function contextsOf(layer: Layer, context: LayerContext): string[] {
  if (layer === 0) return ['']
  const policy = needContext(context.policy, 'policy', layer)
  if (layer === 1) return ['', policy]
  return ['', policy, needContext(context.session, 'session', layer)]
}

function needContext(value: string | undefined, field: string, layer: Layer): string {
  if (value === undefined)
    throw new VaultError('VK_CONTEXT', `Layer ${layer} needs a ${field} id`, { details: { field, layer } })
  checkId(value, field)
  return value
}
