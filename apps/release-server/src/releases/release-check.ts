import { timestamp } from '../time.ts'
import { verifyManifestSignatures, parseManifest } from '@keyturn/manifest'
import { base64urlEncode, KeyturnError, OneAtATime } from '@keyturn/primitives'
import type { ReleaseCheckView, ReleaseView } from '@keyturn/release-client'
import { appendAudit, AUDIT_LOCK } from '../audit/audit.ts'
import type { Caller } from '../access/caller.ts'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { forget, isWhole, setAside } from './fsck.ts'
import { rolesInForce } from './products.ts'
import { blobsOf, readManifestBytes, readRelease, readSignatures, releaseRule } from './releases.ts'
import { collection } from '../storage/collection.ts'
import { flag, listOf, nullable, numeric, object, oneOf, text, whole } from '../storage/shape.ts'

/** A check that has given no sign of life for so long died with its process. */
const SILENT_MS = 60_000
const BEAT_MS = 5_000
/** How long the result of a check is kept. */
const KEPT_MS = 30 * 86_400_000

/** Most checks of one process that wait or run. */
const MAX_OPEN = 16

/** A check of this process that waits or runs; `view` is its state. */
interface OpenCheck {
  view: ReleaseCheckView
  beating: Promise<unknown>
}

interface StoredCheck {
  readonly view: ReleaseCheckView
  readonly beat_ms: number
}

const checks = collection(
  'checks',
  object<StoredCheck>({
    beat_ms: numeric,
    view: object<ReleaseCheckView>({
      id: text,
      product: text,
      channel: text,
      version: text,
      state: oneOf('running', 'done', 'failed'),
      sample: nullable(whole),
      signatures: nullable(text),
      blobs: whole,
      checked: whole,
      bytes: whole,
      damaged: listOf(text),
      missing: listOf(text),
      sound: nullable(flag),
      error: nullable(text),
      started_at: text,
      ended_at: nullable(text),
    }),
  }),
)

/** Which release to check, and how much of it. */
export interface CheckSubject {
  readonly product: string
  readonly channel: string
  readonly version: string
  /** How many blobs, drawn at random; default: all. */
  readonly sample?: number | undefined
}

function keyOf(product: string, id: string): string {
  return `${product}/${id}`
}

/** Some of the items, each as likely as any other; all when no more are there. */
export function sampleOf<T>(items: readonly T[], count: number, random: (length: number) => Uint8Array): T[] {
  const pool = [...items]
  const wanted = Math.min(count, pool.length)
  for (let at = 0; at < wanted; at++) {
    const [a = 0, b = 0, c = 0, d = 0] = random(4)
    const other = at + ((((a << 24) | (b << 16) | (c << 8) | d) >>> 0) % (pool.length - at))
    const item = pool[other] as T
    pool[other] = pool[at] as T
    pool[at] = item
  }
  return pool.slice(0, wanted)
}

/** `valid` when the release role in force signed the manifest, otherwise the code of the refusal. */
async function verifySignatures(context: ServerContext, release: ReleaseView, manifest: Uint8Array): Promise<string> {
  try {
    const { envelope } = await readSignatures(context.metadata, release)
    const { metadata } = context
    const rule = await releaseRule(metadata, release.product, await rolesInForce(metadata, release.product))
    verifyManifestSignatures(manifest, envelope, rule)
    return 'valid'
  } catch (error) {
    if (error instanceof KeyturnError) return error.code
    throw error
  }
}

/**
 * Checks releases on request: signatures against the role document in force, and blobs against their hashes. One check
 * at a time in a process, so that reading whole releases takes no more than its share of the disk. Damaged blobs are
 * set aside and missing ones forgotten, as a scrub does: the next publish sends both again.
 */
export class ReleaseChecks {
  readonly #context: ServerContext
  readonly #queue = new OneAtATime()
  readonly #stopped = new AbortController()
  readonly #open = new Map<string, OpenCheck>()
  #beats: NodeJS.Timeout | undefined
  #running: Promise<unknown> = Promise.resolve()

  constructor(context: ServerContext) {
    this.#context = context
  }

  /**
   * Begins a check, or joins the same one that waits or runs.
   *
   * @throws ServerError `SRV_NOT_FOUND`; `SRV_RATE` while many others wait.
   */
  async start({ product, channel, version, sample }: CheckSubject, caller: Caller): Promise<ReleaseCheckView> {
    const { random, clock, metadata } = this.#context
    const release = await readRelease(metadata, product, channel, version)
    const name = JSON.stringify([product, channel, version, sample ?? null])
    const same = this.#open.get(name)
    if (same !== undefined) return same.view
    if (this.#open.size >= MAX_OPEN)
      throw new ServerError('SRV_RATE', `${MAX_OPEN} checks wait or run here already`, { details: { retryAfterS: 30 } })
    const view: ReleaseCheckView = {
      id: base64urlEncode(random(12)),
      product,
      channel,
      version,
      state: 'running',
      sample: sample ?? null,
      signatures: null,
      blobs: 0,
      checked: 0,
      bytes: 0,
      damaged: [],
      missing: [],
      sound: null,
      error: null,
      started_at: timestamp(clock()),
      ended_at: null,
    }
    const open: OpenCheck = { view, beating: Promise.resolve() }
    this.#open.set(name, open)
    await this.#store(view).catch((error: unknown) => {
      this.#open.delete(name)
      throw error
    })
    this.#beats ??= setInterval(() => this.#beat(), BEAT_MS).unref()
    this.#running = Promise.all([this.#running, this.#queue.run(() => this.#run(release, name, open, caller))])
    return view
  }

  /** A check; `SRV_NOT_FOUND` when there is none, or it was forgotten after 30 days. */
  async get(product: string, id: string): Promise<ReleaseCheckView> {
    const own = [...this.#open.values()].find(({ view }) => view.id === id && view.product === product)
    if (own !== undefined) return own.view
    const stored = await checks.get(this.#context.metadata, keyOf(product, id))
    if (stored === undefined) throw new ServerError('SRV_NOT_FOUND', 'There is no such check')
    const died = stored.view.state === 'running' && this.#context.clock() - stored.beat_ms > SILENT_MS
    return died ? { ...stored.view, state: 'failed', error: 'SRV_UNAVAILABLE' } : stored.view
  }

  /** Stops what runs. */
  async close(): Promise<void> {
    this.#stopped.abort()
    await this.#running
    clearInterval(this.#beats)
  }

  /** Stores for every check that waits or runs that it is alive, and its state. */
  #beat(): void {
    for (const open of this.#open.values()) {
      open.beating = open.beating
        .then(() => this.#store(open.view))
        .catch((error: unknown) =>
          this.#context.log.warn(
            { err: String(error), check: open.view.id },
            'the state of a check could not be stored',
          ),
        )
    }
  }

  async #run(release: ReleaseView, name: string, open: OpenCheck, caller: Caller): Promise<void> {
    const ended = await this.#check(release, open, caller).catch((error: unknown) => this.#broken(open.view, error))
    this.#open.delete(name)
    // Its last report must not be stored after its result.
    await open.beating
    await this.#end(ended, caller).catch((cause: unknown) =>
      this.#context.log.error({ err: String(cause), check: ended.id }, 'the result of a check could not be stored'),
    )
  }

  async #check(release: ReleaseView, open: OpenCheck, caller: Caller): Promise<ReleaseCheckView> {
    const manifest = await readManifestBytes(this.#context, release)
    const names = [...new Set([release.sha256, ...blobsOf(parseManifest(manifest))])]
    open.view = {
      ...open.view,
      blobs: names.length,
      signatures: await verifySignatures(this.#context, release, manifest),
    }
    for (const name of open.view.sample === null ? names : sampleOf(names, open.view.sample, this.#context.random)) {
      this.#stopped.signal.throwIfAborted()
      open.view = await this.#look(name, open.view, caller)
    }
    const { signatures, damaged, missing } = open.view
    return { ...open.view, state: 'done', sound: signatures === 'valid' && damaged.length + missing.length === 0 }
  }

  #broken(view: ReleaseCheckView, error: unknown): ReleaseCheckView {
    if (!(error instanceof KeyturnError))
      this.#context.log.error({ err: String(error), check: view.id }, 'a check failed')
    return {
      ...view,
      state: 'failed',
      error:
        error instanceof KeyturnError ? error.code : this.#stopped.signal.aborted ? 'SRV_UNAVAILABLE' : 'SRV_INTERNAL',
    }
  }

  async #look(name: string, view: ReleaseCheckView, caller: Caller): Promise<ReleaseCheckView> {
    const size = (await this.#context.blobs.stat(name))?.size
    const next = { ...view, checked: view.checked + 1, bytes: view.bytes + (size ?? 0) }
    if (size === undefined) {
      await forget(this.#context, [name])
      return { ...next, missing: [...view.missing, name] }
    }
    const signal = this.#stopped.signal
    // Twice: a caller who may only read releases must not have a blob removed by one bad read.
    if ((await isWhole(this.#context, name, { signal })) || (await isWhole(this.#context, name, { signal })))
      return next
    await setAside(this.#context, name, caller)
    return { ...next, damaged: [...view.damaged, name] }
  }

  async #end(view: ReleaseCheckView, caller: Caller): Promise<void> {
    const now = this.#context.clock()
    const done = { ...view, ended_at: timestamp(now) }
    await this.#context.metadata.transaction([AUDIT_LOCK], async (records) => {
      await checks.put(records, { key: keyOf(view.product, view.id), value: { view: done, beat_ms: now } })
      await appendAudit(records, now, {
        ...caller,
        action: 'release.verify',
        target: `${view.product}/${view.channel}/${view.version}`,
        facts: {
          sound: view.sound,
          checked: view.checked,
          damaged: view.damaged.length,
          missing: view.missing.length,
          error: view.error,
        },
      })
    })
  }

  async #store(view: ReleaseCheckView): Promise<void> {
    const value = { view, beat_ms: this.#context.clock() }
    await this.#context.metadata.transaction([], (records) =>
      checks.put(records, { key: keyOf(view.product, view.id), value }),
    )
  }
}

/** Forgets checks that are older than 30 days. */
export async function sweepChecks(context: ServerContext): Promise<void> {
  const now = context.clock()
  const old = (await checks.all(context.metadata)).filter(({ value }) => now - value.beat_ms > KEPT_MS)
  if (old.length > 0)
    await context.metadata.transaction([], (writer) => checks.delete(writer, ...old.map(({ key }) => key)))
}
