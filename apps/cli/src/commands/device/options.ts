export interface AliasOption {
  readonly alias?: string
}
