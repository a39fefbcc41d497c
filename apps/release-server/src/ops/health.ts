import type { ServerContext } from '../context.ts'
import { channels } from '../releases/channels.ts'
import { products, viewProduct } from '../releases/products.ts'
import type { HeadRenewal } from './head-renewal.ts'

type Status = 'pass' | 'warn' | 'fail'

/** One check of a health answer. */
export interface HealthCheck {
  readonly name: string
  readonly status: Status
  readonly detail?: string | undefined
}

/** Answer of `/readyz`. */
export interface HealthReport {
  readonly status: Status
  readonly checks: readonly HealthCheck[]
}

const DAY_MS = 86_400_000
const ANSWER_WITHIN_MS = 3000

async function checkAlive(name: string, ping: () => Promise<void>): Promise<HealthCheck> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('late')), ANSWER_WITHIN_MS)
  })
  try {
    await Promise.race([ping(), late])
    return { name, status: 'pass' }
  } catch {
    return { name, status: 'fail', detail: 'does not answer' }
  } finally {
    clearTimeout(timer)
  }
}

/** Warns as an end comes near: at 30, 14 and 7 days. Heads live 7 days at most, so their steps are 3, 2 and 1. */
export function expiryCheck(name: string, expiresAt: string, nowMs: number, steps: readonly number[]): HealthCheck {
  const left = Math.floor((Date.parse(expiresAt) - nowMs) / DAY_MS)
  const step = steps.filter((days) => left < days).at(-1)
  if (step === undefined) return { name, status: 'pass' }
  return {
    name,
    status: 'warn',
    detail: left < 0 ? `expired at ${expiresAt}` : `expires in ${left} days, below ${step}`,
  }
}

/** How {@link readiness} answers. */
export interface ReadinessOptions {
  readonly draining: boolean
  /** Who renews heads. */
  readonly renewal: Pick<HeadRenewal, 'connected' | 'failures'>
  /** Which products and channels the caller may see by name; default: none, and what expires is only counted. */
  readonly maySee?: ((product: string, channel?: string) => boolean) | undefined
  /** Checks of other parts of the server, while its stores answer. */
  readonly more?: (() => Promise<readonly HealthCheck[]>) | undefined
}

/**
 * Whether the server can do its work, and what will soon need somebody. Warnings do not take it out of the balancer.
 * Product and channel names are for those who may see them; everybody else gets the numbers.
 */
export async function readiness(
  context: ServerContext,
  { draining, renewal, maySee, more }: ReadinessOptions,
): Promise<HealthReport> {
  const checks: HealthCheck[] = [
    await checkAlive('metadata', () => context.metadata.ping()),
    await checkAlive('blobs', () => context.blobs.ping()),
  ]
  if (draining) checks.push({ name: 'draining', status: 'fail', detail: 'the server is shutting down' })
  if (checks.every(({ status }) => status === 'pass')) {
    const expiries = await findExpiries(context)
    if (maySee === undefined) checks.push(summary('roles', expiries), summary('head', expiries))
    else checks.push(...expiries.filter(({ product, channel }) => maySee(product, channel)).map(({ check }) => check))
    checks.push(await headSignerCheck(renewal, expiries, await waitingHalts(context)), ...((await more?.()) ?? []))
  }
  return { status: worstOf(checks), checks }
}

async function waitingHalts(context: ServerContext): Promise<number> {
  return (await channels.all(context.metadata)).filter(({ value }) => value.wanted?.action === 'halt').length
}

/** Heads that end soon are only a worry when nobody renews them. */
async function headSignerCheck(
  renewal: Pick<HeadRenewal, 'connected' | 'failures'>,
  expiries: readonly Expiry[],
  halts: number,
): Promise<HealthCheck> {
  const name = 'head-signer'
  const ending = expiries.filter(({ kind, check }) => kind === 'head' && check.status !== 'pass').length
  if (!(await renewal.connected())) {
    if (halts > 0)
      return {
        name,
        status: 'warn',
        detail: `${halts === 1 ? '1 halt waits' : `${halts} halts wait`} for a head signer`,
      }
    return ending === 0
      ? { name, status: 'pass', detail: 'no head signer is connected' }
      : {
          name,
          status: 'warn',
          detail: `${ending === 1 ? '1 head has expired or ends' : `${ending} heads have expired or end`} in less than 3 days, and no head signer is connected`,
        }
  }
  const failed = renewal.failures.size
  return failed === 0
    ? { name, status: 'pass', detail: 'connected' }
    : { name, status: 'warn', detail: `connected, but ${failed} heads could not be renewed: see the log` }
}

function worstOf(checks: readonly HealthCheck[]): Status {
  const found = new Set(checks.map(({ status }) => status))
  return found.has('fail') ? 'fail' : found.has('warn') ? 'warn' : 'pass'
}

interface Expiry {
  readonly kind: 'roles' | 'head'
  readonly product: string
  readonly channel?: string
  readonly check: HealthCheck
}

function summary(kind: Expiry['kind'], expiries: readonly Expiry[]): HealthCheck {
  const soon = expiries.filter((expiry) => expiry.kind === kind && expiry.check.status !== 'pass').length
  return soon === 0
    ? { name: kind, status: 'pass' }
    : { name: kind, status: 'warn', detail: `${soon} expire soon or have expired; ask with a token for their names` }
}

async function findExpiries(context: ServerContext): Promise<Expiry[]> {
  const now = context.clock()
  const found: Expiry[] = []
  for (const { key } of await products.all(context.metadata)) {
    const { roles } = await viewProduct(context.metadata, key)
    if (roles !== null)
      found.push({
        kind: 'roles',
        product: key,
        check: expiryCheck(`roles:${key}`, roles.expires_at, now, [30, 14, 7]),
      })
  }
  for (const { key, value } of await channels.all(context.metadata)) {
    const { product, channel, head } = value
    if (head !== null)
      found.push({ kind: 'head', product, channel, check: expiryCheck(`head:${key}`, head.expires_at, now, [3, 2, 1]) })
  }
  return found
}
