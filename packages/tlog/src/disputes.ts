import { checkCheckpoint } from './check-checkpoint.ts'
import type { PolicyCheckpoint } from './check-checkpoint.ts'
import { fetchCheckpoint, fetchWitnessed } from './http.ts'
import type { TlogHttpOptions } from './http.ts'
import type { Policy } from './policy.ts'
import { isSplitView } from './witness.ts'

/**
 * Asks the witnesses of a policy what they have seen of a log: one that hides its newest part here shows it to them. A
 * witness that does not answer disputes nothing.
 *
 * @param prefix - Where the log is.
 * @param shown - What was read there, and followed.
 * @returns Names of witnesses that have signed another tree, or a longer one than the log shows here even now.
 * @throws {@link TlogError} when a witness answers with something that is not a checkpoint of this log.
 */
export async function disputingWitnesses(
  prefix: string,
  shown: PolicyCheckpoint,
  policy: Policy,
  http?: TlogHttpOptions,
): Promise<string[]> {
  const disputing: string[] = []
  for (const { name, url } of policy.witnesses) {
    const bytes = url === undefined ? undefined : await fetchWitnessed(url, shown.origin, http).catch(() => undefined)
    if (bytes === undefined) continue
    const seen = checkCheckpoint(bytes, policy)
    // It may have grown since it was read: then it shows that here too.
    const isLonger =
      seen.size > shown.size && seen.size > checkCheckpoint(await fetchCheckpoint(prefix, http), policy).size
    if (isLonger || isSplitView({ left: seen, right: shown })) disputing.push(name)
  }
  return disputing
}
