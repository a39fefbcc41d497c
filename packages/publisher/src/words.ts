/**
 * Counts things in words: `1 file`, `7 files`.
 *
 * @param count - How many.
 * @param thing - The name of one; its plural ends in s.
 */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? '' : 's'}`
}
