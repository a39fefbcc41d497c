import { equalBytes } from '@keyturn/primitives'
import {
  askWitness,
  checkCheckpoint,
  fetchWitnessed,
  parseCheckpoint,
  parseNote,
  proveConsistency,
  TlogError,
  treeRoot,
  verifyNote,
  WitnessConflict,
} from '@keyturn/tlog'
import type { NoteSignature, Policy, PolicyWitness, TileSource, TlogHttpOptions, VerifierKey } from '@keyturn/tlog'

/** A log as its witnesses are asked about it. */
export interface WitnessedLog {
  readonly key: VerifierKey
  readonly source: TileSource
  /** Entries that are stored. */
  readonly size: number
  readonly http: TlogHttpOptions
}

/** Witnesses that can be asked, which is those with an address. */
export function reachable({ witnesses }: Policy): (PolicyWitness & { readonly url: string })[] {
  return witnesses.filter((witness): witness is PolicyWitness & { readonly url: string } => witness.url !== undefined)
}

/** What a witness answered. */
export interface WitnessAnswer {
  readonly name: string
  readonly signature: NoteSignature
}

/** Asks one witness, from the size that it signed last; when it reports another size, it is asked again from there. */
async function askOne(
  { key, source, size, http }: WitnessedLog,
  witness: PolicyWitness & { readonly url: string },
  { checkpoint, from }: { readonly checkpoint: Uint8Array; readonly from: number },
): Promise<WitnessAnswer> {
  const ask = async (oldSize: number): Promise<NoteSignature[]> => {
    const hashes = await proveConsistency(source, oldSize, size)
    return await askWitness(witness.url, { origin: key.name, oldSize, hashes, checkpoint }, http)
  }
  const lines = await ask(Math.min(from, size)).catch(async (error: unknown) => {
    if (!(error instanceof WitnessConflict) || error.size > size) throw error
    return await ask(error.size)
  })
  const { text } = parseNote(checkpoint)
  const own = lines.filter((line) => line.name === witness.key.name && equalBytes(line.keyId, witness.key.keyId))
  verifyNote({ text, signatures: own }, [witness.key])
  return { name: witness.name, signature: own[0] as NoteSignature }
}

/** What came of asking all witnesses. */
export interface WitnessAnswers {
  readonly signed: readonly WitnessAnswer[]
  readonly failed: readonly { readonly name: string; readonly error: unknown }[]
}

/**
 * Asks every witness that has an address to sign a checkpoint.
 *
 * @param checkpoint - Signed by the log.
 * @param witnessed - The size that each has signed last, as far as that is known.
 */
export async function askWitnesses(
  log: WitnessedLog,
  policy: Policy,
  { checkpoint, witnessed }: { readonly checkpoint: Uint8Array; readonly witnessed: Readonly<Record<string, number>> },
): Promise<WitnessAnswers> {
  const asked = reachable(policy)
  const answers = await Promise.allSettled(
    asked.map((witness) => askOne(log, witness, { checkpoint, from: witnessed[witness.name] ?? 0 })),
  )
  const signed: WitnessAnswer[] = []
  const failed: { name: string; error: unknown }[] = []
  for (const [at, answer] of answers.entries()) {
    if (answer.status === 'fulfilled') signed.push(answer.value)
    else failed.push({ name: asked[at]?.name ?? '', error: answer.reason })
  }
  return { signed, failed }
}

/** Whether what a witness has signed is within what is stored here. */
async function isWithin({ source, size }: WitnessedLog, bytes: Uint8Array): Promise<boolean> {
  const seen = parseCheckpoint(parseNote(bytes).text)
  return seen.size <= size && equalBytes(await treeRoot(source, seen.size), seen.root)
}

/**
 * Compares a log with what its witnesses have signed of it, before it grows: a restored backup would otherwise sign a
 * second tree of a size that was signed before, and its log would be dead.
 *
 * @returns Why the log must not grow; `undefined` when it may.
 */
export async function refusalByWitnesses(log: WitnessedLog, policy: Policy): Promise<string | undefined> {
  const asked = reachable(policy)
  let answered = 0
  for (const witness of asked) {
    try {
      const bytes = await fetchWitnessed(witness.url, log.key.name, log.http)
      // Only a checkpoint that the log itself signed can say that it was larger.
      checkCheckpoint(bytes, { ...policy, logs: [{ key: log.key, url: undefined }] })
      if (!(await isWithin(log, bytes)))
        return `Witness "${witness.name}" has signed another or a longer log than the ${log.size} entries stored here`
      answered += 1
    } catch (error) {
      if (!(error instanceof TlogError)) throw error
      if (error.details['status'] === 404) answered += 1
    }
  }
  return asked.length === 0 || answered > 0
    ? undefined
    : 'None of the witnesses answers, so nobody can say how long the log was'
}
