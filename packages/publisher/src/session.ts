import type { Clock, JsonValue } from '@keyturn/primitives'

/** How a passphrase is asked for. */
export interface PassphraseQuestion {
  /** It is a new one: a person repeats it. */
  readonly fresh?: boolean | undefined
  /** A file that holds it, instead of asking. */
  readonly file?: string | undefined
}

/** A running total, for anyone who watches. */
export interface Progress {
  /** Adds to what is done. Totals may grow, never shrink. */
  update(done: number, total?: number): void
  /** It is over. */
  end(): void
}

/**
 * What this package needs from the program it works for: where the home is, who answers questions, who is notified, and
 * when to stop. A command-line tool, a service and a test each bring their own.
 */
export interface PublisherHost {
  /** The home folder; it may not exist yet. */
  readonly homeFolder: string
  /** Aborted when the work is to stop. */
  readonly signal: AbortSignal
  /** Milliseconds since the epoch. */
  readonly clock: Clock
  /** Say what would be done and change nothing. */
  readonly dryRun: boolean
  /**
   * Gives a passphrase; the caller wipes it.
   *
   * @param label - What it opens, for a person.
   */
  passphrase(label: string, question?: PassphraseQuestion): Promise<Uint8Array>
  /** Called before each step that takes time. `facts` hold no secret. */
  onStep(name: string, text: string, facts?: Readonly<Record<string, JsonValue>>): void
  /** Called for what deserves a look and does not stop the work. */
  warn(text: string): void
  /** Runs when the work is over, last registered first, whatever happened. */
  defer(cleanUp: () => void | Promise<void>): void
}
