import type { Scope } from '@keyturn/release-client'

/** Who makes a call, and what they may do. */
export interface Actor {
  /** As the audit log shows it: `token:<id>`, `oidc:<subject>`, `local`. */
  readonly name: string
  readonly scopes: readonly Scope[]
  /** Products the actor is limited to; empty: all. */
  readonly products: readonly string[]
  /** Channels the actor is limited to; empty: all. */
  readonly channels: readonly string[]
  /** Bytes of new blobs that the actor may upload in all; undefined: any number. */
  readonly uploadQuota?: number | undefined
}

/** Whether an actor has a scope. */
export function hasScope(actor: Actor, scope: Scope): boolean {
  return actor.scopes.includes(scope) || actor.scopes.includes('admin')
}

/** Whether an actor may see a product, and a channel of it. */
export function maySee(actor: Actor, product: string, channel?: string): boolean {
  const productAllowed = actor.products.length === 0 || actor.products.includes(product)
  return productAllowed && (channel === undefined || actor.channels.length === 0 || actor.channels.includes(channel))
}

/** What is limited to some products and channels, or to none. */
type Limits = Pick<Actor, 'products' | 'channels'>

function within(outer: readonly string[], inner: readonly string[]): boolean {
  return outer.length === 0 || (inner.length > 0 && inner.every((name) => outer.includes(name)))
}

/** Whether everything that `other` may see lies within the limits of an actor. */
export function covers(actor: Limits, other: Limits): boolean {
  return within(actor.products, other.products) && within(actor.channels, other.channels)
}

/** Whether an actor is limited to some products or channels. */
export function isLimited(actor: Actor): boolean {
  return actor.products.length + actor.channels.length > 0
}
