/** How one feature of one program ended on one runtime. */
export interface Outcome {
  readonly program: string
  /** Empty: the program could not be loaded at all. */
  readonly feature: string
  readonly works: boolean
  readonly code?: string
  readonly message?: string
}

/** A committed run: for each runtime, its version and what happened. */
export type Results = Readonly<
  Record<string, { readonly version: string; readonly outcomes: readonly Pick<Outcome, keyof Outcome>[] }>
>

/** Reads what the programs print among other lines. */
export function parseOutcomes(output: string): Outcome[] {
  return output
    .split('\n')
    .flatMap((line) => /OUTCOME (\{.*\})\s*$/.exec(line)?.[1] ?? [])
    .map((json) => JSON.parse(json) as Outcome)
}

/** What ended before it said how, as outcomes. */
export function withMissing(outcomes: readonly Outcome[], programs: readonly string[], reason: string): Outcome[] {
  const missing = programs.filter((program) => outcomes.every((outcome) => outcome.program !== program))
  return [...outcomes, ...missing.map((program) => ({ program, feature: '', works: false, code: '', message: reason }))]
}
