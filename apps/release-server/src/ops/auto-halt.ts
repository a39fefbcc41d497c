import { OneAtATime } from '@keyturn/primitives'
import type { AutoHaltView } from '@keyturn/release-client'
import type { Caller } from '../access/caller.ts'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { confirmRate } from '../events/funnel.ts'
import type { Funnel } from '../events/funnel.ts'
import { readChannel } from '../releases/channels.ts'
import { productLock } from '../releases/products.ts'
import { requestHead } from '../releases/rollout.ts'
import type { HeadSigner } from '../releases/rollout.ts'
import { collection } from '../storage/collection.ts'
import type { RecordReader } from '../storage/metadata-store.ts'
import { flag, nullable, numeric, object, text, whole } from '../storage/shape.ts'
import { timestamp } from '../time.ts'
import { describe } from './log.ts'

/** A halt that a rule asked for. */
interface Halted {
  readonly at: string
  readonly confirm_rate: number
  readonly confirm_sample: number
  /** Whether it was asked for; a replica that died before is followed by another one. */
  readonly done: boolean
  readonly tried_ms: number
}

interface Rule {
  readonly version: string
  readonly percent: number
  readonly sample: number
  readonly set_by: string
  readonly set_at: string
  /** Starts that were reported before the rule, or before the rollout was resumed: they do not count. */
  readonly lived_before: number
  readonly died_before: number
  readonly halted: Halted | null
}

/** Rules by `<product>/<channel>`. */
const rules = collection(
  'auto-halts',
  object<Rule>({
    version: text,
    percent: whole,
    sample: whole,
    set_by: text,
    set_at: text,
    lived_before: whole,
    died_before: whole,
    halted: nullable(
      object<Halted>({ at: text, confirm_rate: numeric, confirm_sample: whole, done: flag, tried_ms: whole }),
    ),
  }),
)

const LOOK_EVERY_MS = 15_000
/** How long a replica may take to ask for a halt before another one does. */
const RETRY_MS = 60_000
const CALLER: Caller = { actor: 'auto-halt', requestId: 'auto-halt' }

/** Starts that have to be reported before a rollout halts itself. */
export const DEFAULT_SAMPLE = 100

/** A channel of a product. */
interface Place {
  readonly product: string
  readonly channel: string
}

const keyOf = ({ product, channel }: Place): string => `${product}/${channel}`

function viewOf({ halted, lived_before: _lived, died_before: _died, ...rule }: Rule): AutoHaltView {
  if (halted === null) return { ...rule, halted }
  const { at, confirm_rate, confirm_sample } = halted
  return { ...rule, halted: { at, confirm_rate, confirm_sample } }
}

/** The rule of a channel; null without one. */
export async function readAutoHalt(records: RecordReader, place: Place): Promise<AutoHaltView | null> {
  const rule = await rules.get(records, keyOf(place))
  return rule === undefined ? null : viewOf(rule)
}

/**
 * Has the release that a channel offers halt by itself.
 *
 * @throws ServerError `SRV_NOT_FOUND` when nothing is offered; `SRV_CONFLICT` when a halt would leave players with
 *   nothing.
 */
export async function setAutoHalt(
  context: ServerContext,
  funnel: Funnel,
  { product, channel, percent, sample }: Place & Pick<Rule, 'percent' | 'sample'>,
  caller: Caller,
): Promise<AutoHaltView> {
  const now = context.clock()
  const offered = (await readChannel(context.metadata, product, channel))?.manifest?.version ?? ''
  const { lived, died } = await funnel.total(product, channel, offered)
  return await context.metadata.transaction([AUDIT_LOCK, productLock(product)], async (records) => {
    const view = await readChannel(records, product, channel)
    if (view === undefined || view.manifest === null || view.manifest.version !== offered)
      throw new ServerError('SRV_NOT_FOUND', 'Nothing is published on this channel')
    if ((view.fallback ?? view.before ?? null) === null)
      throw new ServerError(
        'SRV_CONFLICT',
        'This is the first release that everybody gets: a halt has no other to offer',
      )
    const rule: Rule = {
      version: offered,
      percent,
      sample,
      set_by: caller.actor,
      set_at: timestamp(now),
      lived_before: lived,
      died_before: died,
      halted: null,
    }
    await rules.put(records, { key: keyOf({ product, channel }), value: rule })
    const facts = { version: offered, percent, sample }
    await appendAudit(records, now, { ...caller, action: 'channel.auto-halt', target: `${product}/${channel}`, facts })
    return viewOf(rule)
  })
}

/** Ends the rule of a channel; without one nothing changes. */
export async function removeAutoHalt(context: ServerContext, place: Place, caller: Caller): Promise<void> {
  await context.metadata.transaction([AUDIT_LOCK, productLock(place.product)], async (records) => {
    const rule = await rules.get(records, keyOf(place))
    if (rule === undefined) return
    await rules.delete(records, keyOf(place))
    await appendAudit(records, context.clock(), {
      ...caller,
      action: 'channel.auto-halt',
      target: keyOf(place),
      facts: { version: rule.version, percent: null },
    })
  })
}

/**
 * Halts rollouts whose confirm rate is too low. Rules and counts are stored, so any replica does it, also after a
 * restart; the halt is one like any other: signed, logged, and ended by a resume.
 */
export class AutoHalt {
  readonly #context: ServerContext
  readonly #funnel: Funnel
  readonly #signer: HeadSigner | undefined
  readonly #queue = new OneAtATime()
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(context: ServerContext, funnel: Funnel, signer: HeadSigner | undefined) {
    this.#context = context
    this.#funnel = funnel
    this.#signer = signer
  }

  /** Looks from time to time. */
  start(): void {
    this.#timer = setInterval(() => void this.look(), LOOK_EVERY_MS).unref()
  }

  /** Stops, after what is being done. */
  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#queue.idle()
  }

  /** Looks at each rule once. */
  look(): Promise<void> {
    return this.#queue.run(async () => {
      for (const { key, value } of await rules.all(this.#context.metadata)) {
        if (this.#closed) return
        const [product = '', channel = ''] = key.split('/')
        await this.#lookAt({ product, channel }, value).catch((error: unknown) =>
          this.#context.log.warn({ product, channel, err: describe(error) }, 'an auto-halt could not be decided'),
        )
      }
    })
  }

  async #lookAt(place: Place, rule: Rule): Promise<void> {
    const view = await readChannel(this.#context.metadata, place.product, place.channel)
    // The rule was about another release.
    if (view?.manifest?.version !== rule.version) return this.#change(place, rule, undefined)
    const isHalted = view.rollout?.paused === true || view.wanted?.action === 'halt'
    const { lived, died } = await this.#funnel.total(place.product, place.channel, rule.version)
    if (rule.halted === null) {
      const since = { lived: Math.max(0, lived - rule.lived_before), died: Math.max(0, died - rule.died_before) }
      const rate = confirmRate(since)
      const sample = since.lived + since.died
      if (isHalted || rate === null || sample < rule.sample || rate >= rule.percent) return
      const found = { at: timestamp(this.#context.clock()), confirm_rate: rate, confirm_sample: sample }
      return this.#halt(place, rule, found)
    }
    if (!rule.halted.done) {
      if (this.#context.clock() - rule.halted.tried_ms < RETRY_MS) return
      const isOver = view.rollout?.paused === true
      return isOver ? this.#done(place, rule, rule.halted) : this.#halt(place, rule, rule.halted)
    }
    // Somebody resumed it: what was reported until now does not count again.
    if (!isHalted) await this.#change(place, rule, { ...rule, halted: null, lived_before: lived, died_before: died })
  }

  async #halt(
    place: Place,
    rule: Rule,
    { at, confirm_rate, confirm_sample }: Pick<Halted, 'at' | 'confirm_rate' | 'confirm_sample'>,
  ): Promise<void> {
    const halted = { at, confirm_rate, confirm_sample, done: false, tried_ms: this.#context.clock() }
    // The replica that writes this first asks for the halt.
    if (!(await this.#changed(place, rule, { ...rule, halted }))) return
    const found = `${confirm_rate} % of ${confirm_sample} reported starts lived`
    const reason = `${found}, the rollout halts below ${rule.percent} %`
    await requestHead(this.#context, this.#signer, { ...place, action: 'halt', percent: null, reason }, CALLER)
    this.#context.log.warn({ ...place, version: rule.version, reason }, 'a rollout halted itself')
    await this.#done(place, { ...rule, halted }, halted)
  }

  async #done(place: Place, rule: Rule, halted: Halted): Promise<void> {
    await this.#change(place, rule, { ...rule, halted: { ...halted, done: true } })
  }

  async #change(place: Place, before: Rule, after: Rule | undefined): Promise<void> {
    await this.#changed(place, before, after)
  }

  /** Writes a rule, or removes it, if it is still what was read; tells whether it was. */
  async #changed(place: Place, before: Rule, after: Rule | undefined): Promise<boolean> {
    return await this.#context.metadata.transaction([productLock(place.product)], async (records) => {
      const key = keyOf(place)
      if (JSON.stringify(await rules.get(records, key)) !== JSON.stringify(before)) return false
      if (after === undefined) await rules.delete(records, key)
      else await rules.put(records, { key, value: after })
      return true
    })
  }
}
