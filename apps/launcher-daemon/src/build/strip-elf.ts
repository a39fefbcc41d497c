/** Sizes and offsets of 64-bit ELF files; all values little-endian. */
const HEADER = 64
const SECTION = 64
const PROGRAM = 56
const ALLOC = 2n
const NOBITS = 8
/** `sh_info` is the number of a section. */
const INFO_LINK = 0x40n

interface Section {
  readonly header: Buffer
  readonly type: number
  readonly flags: bigint
  readonly offset: number
  readonly size: number
}

function isElf64(bytes: Buffer): boolean {
  // Magic, 64-bit, little-endian.
  return bytes.length > HEADER && bytes.readUInt32BE(0) === 0x7f454c46 && bytes[4] === 2 && bytes[5] === 1
}

function sectionsOf(bytes: Buffer): Section[] {
  const [at, count] = [Number(bytes.readBigUInt64LE(0x28)), bytes.readUInt16LE(0x3c)]
  return Array.from({ length: count }, (_, index) => {
    const header = Buffer.from(bytes.subarray(at + index * SECTION, at + (index + 1) * SECTION))
    return {
      header,
      type: header.readUInt32LE(4),
      flags: header.readBigUInt64LE(8),
      offset: Number(header.readBigUInt64LE(0x18)),
      size: Number(header.readBigUInt64LE(0x20)),
    }
  })
}

/** Where the last byte ends that the system loads. */
function endOfLoaded(bytes: Buffer, sections: readonly Section[]): number {
  const [at, count] = [Number(bytes.readBigUInt64LE(0x20)), bytes.readUInt16LE(0x38)]
  const programs = Array.from({ length: count }, (_, index) => at + index * PROGRAM)
  const ends = programs.map((place) => Number(bytes.readBigUInt64LE(place + 8) + bytes.readBigUInt64LE(place + 0x20)))
  const loaded = sections.filter(({ flags, type }) => (flags & ALLOC) !== 0n && type !== NOBITS)
  return Math.max(at + count * PROGRAM, ...ends, ...loaded.map(({ offset, size }) => offset + size))
}

/**
 * Takes out of a Linux executable what only a debugger reads: symbols that nothing links to, and debug information.
 *   What
 * the system loads stays byte for byte; only the table of sections is written again behind it.
 *
 * @returns The bytes, the same for the same input; the input itself where it is not a 64-bit little-endian ELF file.
 */
export function stripElf(input: Uint8Array): Uint8Array {
  const bytes = Buffer.from(input.buffer, input.byteOffset, input.byteLength)
  if (!isElf64(bytes) || bytes.readUInt16LE(0x3a) !== SECTION || bytes.readUInt16LE(0x36) !== PROGRAM) return input
  const tableEnd = Number(bytes.readBigUInt64LE(0x28)) + bytes.readUInt16LE(0x3c) * SECTION
  if (tableEnd > bytes.length) return input
  const sections = sectionsOf(bytes)
  const names = bytes.readUInt16LE(0x3e)
  const table = sections[names]
  if (table === undefined) return input
  const kept = sections.flatMap((section, index) =>
    index === 0 || index === names || (section.flags & ALLOC) !== 0n ? [index] : [],
  )
  const numberOf = (old: number): number => Math.max(0, kept.indexOf(old)) // 0: none, where it is gone
  const end = endOfLoaded(bytes, sections)
  const tableAt = Math.ceil((end + table.size) / 8) * 8
  const output = Buffer.alloc(tableAt + kept.length * SECTION)
  bytes.copy(output, 0, 0, end)
  bytes.copy(output, end, table.offset, table.offset + table.size)
  for (const [index, old] of kept.entries()) {
    const { header, flags } = sections[old] as Section
    header.writeUInt32LE(numberOf(header.readUInt32LE(0x28)), 0x28)
    if ((flags & INFO_LINK) !== 0n) header.writeUInt32LE(numberOf(header.readUInt32LE(0x2c)), 0x2c)
    if (old === names) header.writeBigUInt64LE(BigInt(end), 0x18)
    header.copy(output, tableAt + index * SECTION)
  }
  output.writeBigUInt64LE(BigInt(tableAt), 0x28)
  output.writeUInt16LE(kept.length, 0x3c)
  output.writeUInt16LE(numberOf(names), 0x3e)
  return output
}
