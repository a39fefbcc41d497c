/** Who asked for a change, in which request; goes into the audit log. */
export interface Caller {
  readonly actor: string
  readonly requestId: string
}
