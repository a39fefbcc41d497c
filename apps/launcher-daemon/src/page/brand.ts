/** An image of the studio's. */
export interface BrandImage {
  readonly type: string
  readonly bytes: Uint8Array
}

/** What makes the page the studio's own. */
export interface PageBrand {
  readonly name: string
  /** `#rrggbb`. */
  readonly accent?: string | undefined
  readonly logo?: BrandImage | undefined
  readonly background?: BrandImage | undefined
  /** Name and version of the studio's launcher, for reports. */
  readonly launcher?: { readonly name: string; readonly version: string } | undefined
  /** Offered languages, the preferred one first; empty: all. */
  readonly languages?: readonly string[] | undefined
}
