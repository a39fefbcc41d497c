/**
 * The usual witness threshold for a number of witnesses, as keripy computes it: enough that two quorums share an honest
 * witness even if as many as can be tolerated are faulty.
 *
 * @param count - Number of witnesses.
 * @example `defaultWitnessThreshold(4)` is `3`
 */
export function defaultWitnessThreshold(count: number): number {
  if (count <= 1) return count
  const faulty = Math.max(1, Math.floor((count - 1) / 3))
  const tolerated = [faulty, faulty + 1].map((f) => Math.ceil((count + f + 1) / 2))
  return Math.min(count, ...tolerated)
}
