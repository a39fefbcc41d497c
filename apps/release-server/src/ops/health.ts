import type { ChannelView } from '@keyturn/release-client'
import type { ServerContext } from '../context.ts'
import { viewProduct } from '../releases/products.ts'

/** One check of a health answer. */
export interface HealthCheck {
  readonly name: string
  readonly status: 'pass' | 'warn' | 'fail'
  readonly detail?: string
}

/** Answer of `/readyz`. */
export interface HealthReport {
  readonly status: 'pass' | 'warn' | 'fail'
  readonly checks: readonly HealthCheck[]
}

const day = 86_400_000
const answerWithinMs = 3000

async function alive(name: string, ping: () => Promise<void>): Promise<HealthCheck> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('late')), answerWithinMs)
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

/** A warning as an end comes near: at 30, 14 and 7 days. Heads live 7 days at most, so theirs are at 3, 2 and 1. */
export function expiryCheck(name: string, expiresAt: string, nowMs: number, steps: readonly number[]): HealthCheck {
  const left = Math.floor((Date.parse(expiresAt) - nowMs) / day)
  const step = steps.filter((days) => left < days).at(-1)
  if (step === undefined) return { name, status: 'pass' }
  return {
    name,
    status: 'warn',
    detail: left < 0 ? `expired at ${expiresAt}` : `expires in ${left} days, below ${step}`,
  }
}

/** Whether the server can do its work, and what will soon need a hand. Warnings do not take it out of the balancer. */
export async function readiness(context: ServerContext, draining: boolean): Promise<HealthReport> {
  const checks: HealthCheck[] = [
    await alive('metadata', () => context.metadata.ping()),
    await alive('blobs', () => context.blobs.ping()),
  ]
  if (draining) checks.push({ name: 'draining', status: 'fail', detail: 'the server is going down' })
  const sound = checks.every(({ status }) => status === 'pass')
  if (sound) checks.push(...(await expiries(context)))
  const worst = checks.some(({ status }) => status === 'fail')
    ? 'fail'
    : checks.some(({ status }) => status === 'warn')
      ? 'warn'
      : 'pass'
  return { status: worst, checks }
}

async function expiries(context: ServerContext): Promise<HealthCheck[]> {
  const now = context.clock()
  const checks: HealthCheck[] = []
  for (const { key } of await context.metadata.list('products')) {
    const { roles } = await viewProduct(context.metadata, key)
    if (roles !== null) checks.push(expiryCheck(`roles:${key}`, roles.expires_at, now, [30, 14, 7]))
  }
  for (const { key, value } of await context.metadata.list('channels')) {
    const { head } = value as unknown as ChannelView
    if (head !== null) checks.push(expiryCheck(`head:${key}`, head.expires_at, now, [3, 2, 1]))
  }
  return checks
}
