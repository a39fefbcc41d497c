import { sha256Hex } from '@keyturn/primitives'
import { releaseSteps } from '@keyturn/manifest'
import type {
  Cohort,
  DocumentAnswer,
  DocumentRequest,
  ReleaseDecision,
  TrustState,
  VerifyOptions,
} from '@keyturn/manifest'
import { LauncherError } from '../errors.ts'
import { driveRelease } from './drive-release.ts'
import type { Source } from '../fetch/source.ts'
import type { CycleDocuments, TrustStore } from './trust-store.ts'

/** What a cycle is run with. */
export interface TrustCycleOptions extends VerifyOptions {
  readonly cohort: Cohort
  readonly signal?: AbortSignal | undefined
  /** Read the log from every mirror too, not only from the server. */
  readonly compareTips?: boolean | undefined
}

/** What a cycle came to; the decision is stored already. */
export interface TrustCycleResult {
  readonly decision: ReleaseDecision
  readonly documents: CycleDocuments
  /** A manifest came whose signature is wrong; a wrong signature over the manifest that was here already is not one. */
  readonly isTampered: boolean
}

/** Documents that contradict each other are believed only after this many fetches, past every cache. */
const CONTRADICTION_TRIES = 3
/** A wrong signature, or bytes that are not those that were signed. */
const SIGNATURE_CODES = new Set(['MAN_SIGNATURE', 'MAN_SIGNATURE_FORMAT', 'MAN_PIN'])
/** Keys were rotated while the documents were read: the log is of before, head or signatures are of after. */
const ROTATION_CODES = new Set(['MAN_KEY_UNKNOWN', 'MAN_KEY_RETIRED', 'MAN_THRESHOLD', 'MAN_VERSION_JUMP'])

function isNetwork(error: unknown): error is LauncherError {
  return error instanceof LauncherError && ['io', 'unavailable', 'input'].includes(error.kind)
}

/** The addresses of documents below the server's; docs/spec/launcher.md §5. */
function documentPath(request: DocumentRequest): string {
  switch (request.document) {
    case 'log':
      return `kel/${request.prefix}.cesr`
    case 'roles':
      return `roles/${request.version}.json`
    case 'kills':
      return 'kills.json'
    case 'head':
      return `channels/${request.channel}/head.json`
    case 'manifest':
      return request.pin === undefined ? channelPath(request.channel, 'manifest.json') : pinnedPath(request, 'json')
    case 'signatures':
      return pinnedPath(request, 'sigs.json')
    case 'proof':
      return pinnedPath(request, 'tlog-proof')
    case 'legacy-signature':
      return channelPath(request.channel, 'manifest.json.sig')
  }
}

/** The original has its one channel at the root. */
function channelPath(channel: string, name: string): string {
  return channel === 'stable' ? name : `channels/${channel}/${name}`
}

function pinnedPath(
  request: Extract<DocumentRequest, { document: 'manifest' | 'signatures' | 'proof' }>,
  ending: string,
): string {
  return `channels/${request.channel}/manifests/${encodeURIComponent(request.pin?.version ?? '')}.${ending}`
}

/** The documents of one cycle, from the network where they may have changed and from disk where they cannot. */
class CycleFetcher {
  readonly seen: { -readonly [Name in keyof CycleDocuments]: CycleDocuments[Name] } = {}
  /** What came, for evidence. */
  readonly bytes = new Map<DocumentRequest['document'], Uint8Array>()
  failure: LauncherError | undefined
  readonly #source: Source
  readonly #store: TrustStore
  readonly #state: TrustState
  readonly #fresh: boolean
  readonly #signal: AbortSignal | undefined
  readonly #compareTips: boolean

  constructor(
    source: Source,
    store: TrustStore,
    state: TrustState,
    options: Pick<TrustCycleOptions, 'signal' | 'compareTips'> & { readonly isFresh: boolean },
  ) {
    this.#source = source
    this.#store = store
    this.#state = state
    this.#fresh = options.isFresh
    this.#signal = options.signal
    this.#compareTips = options.compareTips === true
  }

  async provide(request: DocumentRequest): Promise<DocumentAnswer> {
    if (request.document === 'log' && this.#compareTips) return await this.#fromEveryHost(request)
    if (request.document === 'kills') return await this.#kills(request)
    const known = await this.#known(request)
    if (known !== undefined) return known
    const bytes = await this.#fetch(request)
    if (bytes === undefined) return undefined
    this.bytes.set(request.document, bytes)
    if (request.document === 'signatures') this.seen.signatures = bytes
    if (request.document === 'legacy-signature') this.seen.legacySignature = bytes
    return bytes
  }

  /** Notices seen before count for good, and a host that leaves one out hides nothing that another one shows. */
  async #kills(request: DocumentRequest): Promise<readonly Uint8Array[]> {
    const stored = await this.#store.kills()
    const shown = this.#compareTips ? await this.#fromEveryHost(request) : await this.#fromServer(request)
    return stored === undefined ? shown : [stored, ...shown]
  }

  async #fromServer(request: DocumentRequest): Promise<readonly Uint8Array[]> {
    const own = await this.#fetch(request)
    return own === undefined ? [] : [own]
  }

  /** A document as the server and every mirror have it: a host that shows an older or another one is noticed. */
  async #fromEveryHost(request: DocumentRequest): Promise<readonly Uint8Array[]> {
    const logs = [...(await this.#fromServer(request))]
    const [own] = logs
    if (own !== undefined && request.document === 'log') this.bytes.set('log', own)
    for (const host of this.#source.mirrors) {
      const bytes = await this.#source
        .document(documentPath(request), request.maxBytes, { signal: this.#signal, host })
        .catch((error: unknown) => {
          this.#signal?.throwIfAborted()
          if (!isNetwork(error)) throw error
          return undefined // a mirror that is down says nothing
        })
      if (bytes !== undefined) logs.push(bytes)
    }
    return logs
  }

  async #known(request: DocumentRequest): Promise<Uint8Array | undefined> {
    if (request.document === 'roles' && this.#state.roles?.version === request.version) {
      const bytes = await this.#store.role(request.version)
      return bytes !== undefined && sha256Hex(bytes) === this.#state.roles.sha256 ? bytes : undefined
    }
    if (request.document === 'manifest' && request.pin !== undefined) {
      const bytes = await this.#store.manifest(request.pin.sequence, request.channel)
      if (bytes !== undefined && sha256Hex(bytes) === request.pin.sha256) return bytes
      return await this.#store.preloaded(request.pin.sha256)
    }
    return undefined
  }

  async #fetch(request: DocumentRequest): Promise<Uint8Array | undefined> {
    try {
      return await this.#source.document(documentPath(request), request.maxBytes, {
        signal: this.#signal,
        fresh: this.#fresh || request.document === 'head',
      })
    } catch (error) {
      this.#signal?.throwIfAborted()
      if (!isNetwork(error)) throw error
      // Most products have no notice, so a missing one fails nothing.
      if (request.document !== 'kills' && request.document !== 'proof') this.failure ??= error
      return undefined
    }
  }
}

function isSignatureFailure(decision: ReleaseDecision): boolean {
  return decision.outcome === 'refused' && SIGNATURE_CODES.has(decision.error.code)
}

/** Whether the documents may be of two moments: asked again, they fit together, or they never do. */
function isContradiction(decision: ReleaseDecision): boolean {
  return isSignatureFailure(decision) || (decision.outcome === 'refused' && ROTATION_CODES.has(decision.error.code))
}

/**
 * Asks the server what is on offer and decides, document by document. What was accepted is stored before this returns.
 * A broken connection is an error only after what could be learned was stored.
 *
 * @throws LauncherError `LA_NETWORK`, `LA_TIMEOUT`, `LA_HTTP_STATUS` … when the server could not be asked.
 */
export async function runTrustCycle(
  source: Source,
  store: TrustStore,
  state: TrustState,
  options: TrustCycleOptions,
): Promise<TrustCycleResult> {
  const earlier = (await store.roles()).map(({ bytes }) => bytes)
  for (let attempt = 1; ; attempt++) {
    const fetcher = new CycleFetcher(source, store, state, { ...options, isFresh: attempt > 1 })
    const decision = await driveRelease(releaseSteps(state, options, earlier), (request) => fetcher.provide(request))
    if (isContradiction(decision) && attempt < CONTRADICTION_TRIES) continue
    if (decision.outcome === 'refused') await keepForkEvidence(store, state, decision.state, fetcher.bytes)
    await store.persist(decision, fetcher.seen)
    if (
      decision.outcome === 'refused' &&
      fetcher.failure !== undefined &&
      /_MISSING$|^TRUST_ROLES$/.test(decision.error.code)
    )
      throw fetcher.failure
    const isTampered =
      decision.trust === 'barred' &&
      !(isSignatureFailure(decision) && !fetcher.bytes.has('manifest') && !fetcher.bytes.has('legacy-signature'))
    return { decision, documents: fetcher.seen, isTampered }
  }
}

async function keepForkEvidence(
  store: TrustStore,
  before: TrustState,
  after: TrustState,
  bytes: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  if (after.fork === undefined || before.fork !== undefined) return
  for (const [name, content] of bytes) await store.keepEvidence(`${name}-${sha256Hex(content).slice(0, 16)}`, content)
}
