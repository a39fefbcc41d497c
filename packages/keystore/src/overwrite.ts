/** What a call does when the alias names a secret already. */
export interface OverwriteOptions {
  /** Give it another secret; default `false`: `KEY_ALIAS_EXISTS`. */
  readonly overwrite?: boolean | undefined
  /** The older name of `overwrite`, which counts when both are given. */
  readonly replace?: boolean | undefined
}

/** Whether a secret that is there may get another. */
export function mayOverwrite({ overwrite, replace }: OverwriteOptions): boolean {
  return (overwrite ?? replace) === true
}
