/** One event's place in the log of an identity. */
export interface EventPlace {
  readonly prefix: string
  readonly sn: number
}

/**
 * A witness: signs, once for each place in a log, the event that it saw there first. Its own key can never turn, so
 * that its signature needs no log to be checked.
 */
export interface Witness {
  /** Its key, non-transferable (code B): what an identity names in `b`. */
  readonly prefix: string
  /**
   * Shows it a log.
   *
   * @param log - Events with their attachments and receipts, from the inception on.
   * @returns Receipts, as a CESR stream, for the events that are valid and name this witness; undefined when it holds
   *   the last event back because something is missing.
   * @throws KelError `KEL_DUPLICITY` for another event than the one seen first, `KEL_WITNESS` when it was not named,
   *   `KEL_UNAVAILABLE`, or the rule that was broken.
   */
  submit(log: Uint8Array): Promise<Uint8Array | undefined>
  /** The receipt it once gave; undefined when there is none. */
  find(place: EventPlace): Promise<Uint8Array | undefined>
}
