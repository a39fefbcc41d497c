/** A key that ended itself, as the server took its notice. */
export interface KillView {
  /** 64 lower-case hex. */
  readonly key: string
  readonly role: 'release' | 'head'
  /** Every key in force that has ended, this one included. */
  readonly killed: readonly string[]
}

/** The public log of what a product published; docs/spec/tlog.md §9. */
export interface ReleaseLogView {
  /** Entries. */
  readonly size: number
  /** Key of the log in its one-line form; its name is the origin of the log. */
  readonly key: string
  /** Why nothing is appended; empty when nothing is wrong. */
  readonly problem: string
  /** The size that each witness has signed last. */
  readonly witnesses: readonly { readonly name: string; readonly size: number }[]
  /** Releases whose proof still lacks a signature, `<channel>/<version>`. */
  readonly unproved: readonly string[]
}
