import { hexEncode } from '@keyturn/primitives'
import { chunkDigest } from './chunk-index.ts'
import type { ChunkIndex } from './chunk-index.ts'

/** A blob that is on this machine: the old file, another file of the install, what was staged before. */
export interface DeltaSeed {
  /** Its index: the one of the old release, or cut locally with the same parameters. */
  readonly index: ChunkIndex
}

/** Bytes to take over from a seed. Hash them before they count: the file may have changed since it was indexed. */
export interface DeltaCopy {
  /** Which seed. */
  readonly seed: number
  /** Where in the seed. */
  readonly sourceOffset: number
  /** Where in the new blob. */
  readonly offset: number
  /** Bytes. */
  readonly length: number
  /** First chunk of the new blob it covers. */
  readonly firstChunk: number
  /** Number of chunks it covers. */
  readonly chunkCount: number
}

/** Bytes to fetch with one range request on the whole-file blob. */
export interface DeltaRange {
  /** Where in the new blob. */
  readonly offset: number
  /** Bytes. */
  readonly length: number
  /** First chunk it covers. */
  readonly firstChunk: number
  /** Number of chunks it covers, those in merged gaps included. */
  readonly chunkCount: number
}

/** How a new blob comes about. */
export interface DeltaPlan {
  /** Taken over. */
  readonly copies: readonly DeltaCopy[]
  /** Fetched, in order. */
  readonly ranges: readonly DeltaRange[]
  /** Bytes of all ranges. */
  readonly downloadBytes: number
  /** True when one request for the whole blob costs less than the ranges: then nothing is copied. */
  readonly whole: boolean
}

/** What requests cost. */
export interface PlanDeltaOptions {
  /** Ranges with a gap up to this are fetched as one; 32 KiB by default. */
  readonly mergeGapBytes?: number
  /** Share of the missing bytes that merged gaps may add in all; 0.05 by default. */
  readonly mergeShare?: number
  /** Longest range; 8 MiB by default. */
  readonly maxRangeBytes?: number
  /** What a request costs, in bytes; 2 KiB by default. */
  readonly requestCostBytes?: number
  /** Ranges are used while they cost less than this share of the blob; 0.75 by default. */
  readonly wholeShare?: number
}

interface Source {
  readonly seed: number
  readonly offset: number
}

function sourcesByDigest(seeds: readonly DeltaSeed[]): Map<string, Source> {
  const sources = new Map<string, Source>()
  seeds.forEach(({ index }, seed) => {
    let offset = 0
    for (let chunk = 0; chunk < index.lengths.length; chunk++) {
      const digest = hexEncode(chunkDigest(index, chunk))
      if (!sources.has(digest)) sources.set(digest, { seed, offset })
      offset += index.lengths[chunk] as number
    }
  })
  return sources
}

interface Split {
  readonly copies: DeltaCopy[]
  readonly missing: DeltaRange[]
}

function extendCopy(last: DeltaCopy | undefined, next: DeltaCopy): DeltaCopy | undefined {
  const touches =
    last !== undefined &&
    last.seed === next.seed &&
    last.firstChunk + last.chunkCount === next.firstChunk &&
    last.sourceOffset + last.length === next.sourceOffset
  return touches ? { ...last, length: last.length + next.length, chunkCount: last.chunkCount + 1 } : undefined
}

/** Walks the chunks of the new blob: what a seed has is copied, the rest is missing. */
function split(target: ChunkIndex, sources: ReadonlyMap<string, Source>): Split {
  const copies: DeltaCopy[] = []
  const missing: DeltaRange[] = []
  let offset = 0
  for (let chunk = 0; chunk < target.lengths.length; chunk++) {
    const length = target.lengths[chunk] as number
    const source = sources.get(hexEncode(chunkDigest(target, chunk)))
    if (source !== undefined) {
      const copy = { seed: source.seed, sourceOffset: source.offset, offset, length, firstChunk: chunk, chunkCount: 1 }
      const extended = extendCopy(copies.at(-1), copy)
      if (extended === undefined) copies.push(copy)
      else copies[copies.length - 1] = extended
    } else {
      const last = missing.at(-1)
      if (last !== undefined && last.firstChunk + last.chunkCount === chunk) {
        missing[missing.length - 1] = { ...last, length: last.length + length, chunkCount: last.chunkCount + 1 }
      } else {
        missing.push({ offset, length, firstChunk: chunk, chunkCount: 1 })
      }
    }
    offset += length
  }
  return { copies, missing }
}

/** The gaps worth fetching along: the smallest first, as long as together they stay a small part of the download. */
function gapsToMerge(missing: readonly DeltaRange[], mergeGapBytes: number, budget: number): Set<number> {
  const gaps = missing
    .slice(1)
    .map((range, index) => ({ index: index + 1, bytes: range.offset - endOf(missing[index] as DeltaRange) }))
    .filter(({ bytes }) => bytes <= mergeGapBytes)
    .sort((a, b) => a.bytes - b.bytes)
  const merged = new Set<number>()
  let spent = 0
  for (const { index, bytes } of gaps) {
    spent += bytes
    if (spent > budget) break
    merged.add(index)
  }
  return merged
}

function endOf({ offset, length }: DeltaRange): number {
  return offset + length
}

function mergeRanges(missing: readonly DeltaRange[], merged: ReadonlySet<number>, maxRangeBytes: number): DeltaRange[] {
  const ranges: DeltaRange[] = []
  missing.forEach((range, index) => {
    const last = ranges.at(-1)
    if (last !== undefined && merged.has(index) && endOf(range) - last.offset <= maxRangeBytes) {
      const chunkCount = range.firstChunk + range.chunkCount - last.firstChunk
      ranges[ranges.length - 1] = { ...last, length: endOf(range) - last.offset, chunkCount }
    } else {
      ranges.push(range)
    }
  })
  return ranges
}

/** Cuts ranges at chunk boundaries so that none is longer than a request may be. */
function splitLong(ranges: readonly DeltaRange[], target: ChunkIndex, maxRangeBytes: number): DeltaRange[] {
  return ranges.flatMap((range) => {
    if (range.length <= maxRangeBytes) return [range]
    const parts: DeltaRange[] = []
    let part: DeltaRange = { offset: range.offset, length: 0, firstChunk: range.firstChunk, chunkCount: 0 }
    for (let chunk = range.firstChunk; chunk < range.firstChunk + range.chunkCount; chunk++) {
      const length = target.lengths[chunk] as number
      if (part.chunkCount > 0 && part.length + length > maxRangeBytes) {
        parts.push(part)
        part = { offset: endOf(part), length: 0, firstChunk: chunk, chunkCount: 0 }
      }
      part = { ...part, length: part.length + length, chunkCount: part.chunkCount + 1 }
    }
    return [...parts, part]
  })
}

/**
 * Plans how a new blob is put together from what lies here and as few bytes as possible from the network: any old
 * state to the new one, by single-range requests on the whole-file blob of any static host.
 *
 * @param target - Index of the new blob.
 * @param seeds - Blobs at hand, best first.
 */
export function planDelta(target: ChunkIndex, seeds: readonly DeltaSeed[], options: PlanDeltaOptions = {}): DeltaPlan {
  const { mergeGapBytes = 32 * 1024, mergeShare = 0.05, maxRangeBytes = 8 * 1024 * 1024 } = options
  const { requestCostBytes = 2048, wholeShare = 0.75 } = options
  const { copies, missing } = split(target, sourcesByDigest(seeds))
  const missingBytes = missing.reduce((sum, { length }) => sum + length, 0)
  const merged = gapsToMerge(missing, mergeGapBytes, missingBytes * mergeShare)
  const ranges = splitLong(mergeRanges(missing, merged, maxRangeBytes), target, maxRangeBytes)
  const downloadBytes = ranges.reduce((sum, { length }) => sum + length, 0)
  const cost = downloadBytes + ranges.length * requestCostBytes
  if (cost < target.blobBytes * wholeShare || target.blobBytes === 0)
    return { copies, ranges, downloadBytes, whole: false }
  const everything = { offset: 0, length: target.blobBytes, firstChunk: 0, chunkCount: target.lengths.length }
  return { copies: [], ranges: [everything], downloadBytes: target.blobBytes, whole: true }
}
