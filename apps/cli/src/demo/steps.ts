import { formatBytes } from '@keyturn/primitives'
import type { Output } from '../output.ts'

/** One step of the demonstration, as `--json` shows it. */
export interface DemoStep {
  readonly name: string
  readonly ms: number
  /** What the step moved: packed, uploaded or downloaded. */
  readonly bytes?: number
  readonly ok: boolean
  /** What was found, in a few words. */
  readonly note: string
}

/** What the action of a step gives back. */
export interface StepOutcome {
  readonly bytes?: number
  readonly note: string
  /** Whether everything the step checked held; default true. */
  readonly ok?: boolean
}

/** Runs the steps one after the other and shows each with time and bytes. */
export class DemoSteps {
  readonly steps: DemoStep[] = []
  readonly #out: Output

  /** @param out - Where steps are shown. */
  constructor(out: Output) {
    this.#out = out
  }

  /** Whether every check held so far. */
  get ok(): boolean {
    return this.steps.every((step) => step.ok)
  }

  /**
   * Runs one step. A check that did not hold is noted and the demonstration goes on; an error ends it.
   *
   * @param name - Stable name.
   * @param action - Does it.
   */
  async run(name: string, action: () => Promise<StepOutcome>): Promise<void> {
    const started = performance.now()
    let outcome: StepOutcome
    try {
      outcome = await action()
    } catch (error) {
      this.#add({ name, ms: elapsed(started), ok: false, note: error instanceof Error ? error.message : String(error) })
      throw error
    }
    const { bytes, note, ok = true } = outcome
    this.#add({ name, ms: elapsed(started), ok, note, ...(bytes === undefined ? {} : { bytes }) })
  }

  #add(step: DemoStep): void {
    this.steps.push(step)
    const mark = step.ok ? { sgr: '32', text: '✓' } : { sgr: '31', text: '✗' }
    const size = step.bytes === undefined ? '' : formatBytes(step.bytes)
    this.#out.step(
      step.name,
      `${step.name.padEnd(24)} ${seconds(step.ms).padStart(8)} ${size.padStart(8)}  ${step.note}`,
      {
        ms: step.ms,
        ok: step.ok,
        ...(step.bytes === undefined ? {} : { bytes: step.bytes }),
      },
      mark,
    )
  }
}

function elapsed(started: number): number {
  return Math.round(performance.now() - started)
}

/** `1.24 s`, for tables. */
export function seconds(ms: number): string {
  return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(2)} s`
}
