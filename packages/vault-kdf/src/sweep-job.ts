import { canonicalJson, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import type { JsonObject, JsonValue } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import type { RecordId } from './place.ts'

/** What a sweep has met so far. */
export interface SweepCounts {
  readonly scanned: number
  readonly resealed: number
  /** A writer was faster: the record is under the active version already. */
  readonly superseded: number
  /** Gated records whose ids the sweep may not have. */
  readonly gated: number
  /** Removed because their time was over. */
  readonly expired: number
  /** Removed because their partition was erased. */
  readonly erased: number
  /** Records that did not open; see {@link SweepJob.failures}. */
  readonly failed: number
  readonly bytes: number
}

/** A record that did not open. */
export interface SweepFailure extends RecordId {
  readonly code: string
}

/** One sweep, as it is kept in the store: a crash or a restart goes on behind the cursor. */
export interface SweepJob {
  readonly jobId: string
  readonly fromVersions: readonly number[]
  readonly toVersion: number
  /** Index into the passes: the versions in order, then the records without a header. */
  readonly pass: number
  readonly cursor: RecordId | undefined
  readonly counts: SweepCounts
  /** The first 1,000. */
  readonly failures: readonly SweepFailure[]
  readonly startedAt: number
  readonly state: 'running' | 'completed' | 'completed_with_errors'
}

/** Nothing met yet. */
export const noCounts: SweepCounts = {
  scanned: 0,
  resealed: 0,
  superseded: 0,
  gated: 0,
  expired: 0,
  erased: 0,
  failed: 0,
  bytes: 0,
}

/** Failures kept by name; the count goes on. */
export const maxFailures = 1_000

const FORMAT = 'keyturn-sweep-1'

/** The job as canonical JSON. */
export function writeSweepJob(job: SweepJob): Uint8Array {
  const { cursor, failures, counts, ...rest } = job
  return utf8Encode(
    canonicalJson({
      ...rest,
      format: FORMAT,
      fromVersions: [...rest.fromVersions],
      counts: { ...counts },
      failures: failures.map(({ partition, cell, name, code }) => ({ partition, cell, name, code })),
      ...(cursor === undefined
        ? {}
        : { cursor: { partition: cursor.partition, cell: cursor.cell, name: cursor.name } }),
    }),
  )
}

/** Parses a job of {@link writeSweepJob}. @throws VaultError `VK_STORE_DAMAGED`. */
export function parseSweepJob(bytes: Uint8Array): SweepJob {
  const json = object(parseStrictJson(bytes))
  const { cursor } = json
  const state = text(json, 'state')
  if (json['format'] !== FORMAT || (state !== 'running' && state !== 'completed' && state !== 'completed_with_errors'))
    throw damaged()
  const counts = object(json['counts'])
  const versions = json['fromVersions']
  return {
    jobId: text(json, 'jobId'),
    fromVersions: Array.isArray(versions) ? versions.map(Number) : [],
    toVersion: number(json, 'toVersion'),
    pass: number(json, 'pass'),
    cursor: cursor === undefined ? undefined : recordId(object(cursor)),
    counts: {
      scanned: number(counts, 'scanned'),
      resealed: number(counts, 'resealed'),
      superseded: number(counts, 'superseded'),
      gated: number(counts, 'gated'),
      expired: number(counts, 'expired'),
      erased: counts['erased'] === undefined ? 0 : number(counts, 'erased'), // a job of an earlier version
      failed: number(counts, 'failed'),
      bytes: number(counts, 'bytes'),
    },
    failures: (Array.isArray(json['failures']) ? json['failures'] : []).map((failure) => ({
      ...recordId(object(failure)),
      code: text(object(failure), 'code'),
    })),
    startedAt: number(json, 'startedAt'),
    state,
  }
}

function damaged(): VaultError {
  return new VaultError('VK_STORE_DAMAGED', 'The sweep job in the store cannot be read')
}

function object(value: JsonValue | undefined): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damaged()
  return value
}

function text(from: JsonObject, field: string): string {
  const value = from[field]
  if (typeof value !== 'string') throw damaged()
  return value
}

function number(from: JsonObject, field: string): number {
  const value = from[field]
  if (typeof value !== 'number') throw damaged()
  return value
}

function recordId(from: JsonObject): RecordId {
  return { partition: text(from, 'partition'), cell: text(from, 'cell'), name: text(from, 'name') }
}
