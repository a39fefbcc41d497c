import { equalBytes, OneAtATime, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  addSignatures,
  appendEntries,
  formatNote,
  formatProof,
  formatVerifierKey,
  originHash,
  parseNote,
  parseProof,
  parseVerifierKey,
  proveInclusion,
  signCheckpoint,
  treeRoot,
} from '@keyturn/tlog'
import type { NoteSigner, Policy, PolicyWitness, SignedNote, TlogHttpOptions } from '@keyturn/tlog'
import type { ServerContext } from '../context.ts'
import { documentRecord, documents } from '../public/documents.ts'
import { products } from '../releases/products.ts'
import type { RecordReader, RecordWriter } from '../storage/metadata-store.ts'
import { askWitnesses, reachable, refusalByWitnesses } from './ask-witnesses.ts'
import type { WitnessAnswers, WitnessedLog } from './ask-witnesses.ts'
import type { LogKeys } from './log-keys.ts'
import { logDocument, logLock, logStates, proofDocument, storedTiles, storeGrown, unproved } from './log-store.ts'
import type { LogState } from './log-store.ts'
import { missingEntries, offeredReleases } from './published-entries.ts'

/** How the server keeps logs of what is published. */
export interface ReleaseLogSettings {
  /** Name under which the logs are known: `updates.example.org`. A log is `<origin>/p/<product>/log`. */
  readonly origin: string
  /** Witnesses that are asked after each publish, with their quorum; logs in it are passed over. */
  readonly policy: Policy
  readonly http?: TlogHttpOptions | undefined
}

/** Entries that are appended at once, so that a transaction stays short. */
const MAX_BATCH = 1000
/** How often the server looks for what was published and not logged, and for proofs that lack signatures. */
const LOOK_EVERY_MS = 60_000

/** A failure as one line. */
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/** The logs of all products of this server: what was published goes in, witnesses are asked, proofs are stored. */
export class ReleaseLog {
  readonly #context: ServerContext
  readonly #keys: LogKeys
  readonly #settings: ReleaseLogSettings
  readonly #queue = new OneAtATime()
  /** Products whose log was compared with its witnesses since this process started. */
  readonly #compared = new Set<string>()
  /** Products whose proofs were compared with the policy since this process started. */
  readonly #renewed = new Set<string>()
  readonly #stopped = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #unsubscribe: (() => void) | undefined

  constructor(context: ServerContext, keys: LogKeys, settings: ReleaseLogSettings) {
    this.#context = context
    this.#keys = keys
    this.#settings = settings
  }

  /** Begins to follow what is published. */
  start(): void {
    this.#unsubscribe = this.#context.metadata.subscribe((topic, product) => {
      if (topic === 'documents' && product !== '') this.#soon(() => this.advance(product))
    })
    this.#timer = setInterval(() => this.#soon(() => this.advanceAll()), LOOK_EVERY_MS).unref()
    this.#soon(() => this.advanceAll())
  }

  /** Stops, after the work that is running. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    this.#unsubscribe?.()
    this.#stopped.abort()
    await this.#queue.idle()
  }

  #soon(work: () => Promise<void>): void {
    this.#queue
      .run(async () => {
        if (!this.#stopped.signal.aborted) await work()
      })
      .catch((error: unknown) => {
        if (!this.#stopped.signal.aborted)
          this.#context.log.error({ err: reasonOf(error) }, 'the log of releases failed')
      })
  }

  /** Brings the logs of all products up to date. */
  async advanceAll(): Promise<void> {
    for (const { key } of await products.all(this.#context.metadata)) await this.advance(key)
  }

  /** Brings the log of a product up to date: entries, then signatures of witnesses, then proofs. */
  async advance(product: string): Promise<void> {
    const { metadata } = this.#context
    if ((await products.get(metadata, product)) === undefined) return
    const signer = await this.#signer(product)
    if (!(await this.#succeed(product, signer))) return
    await this.#append(product, signer)
    await this.#renewProofs(product)
    const state = await logStates.get(metadata, product)
    const waiting = await unproved.list(metadata, { prefix: `${product}/`, limit: 1 })
    if (state === undefined || state.problem !== '' || waiting.length === 0) return
    await this.#prove(product, signer, state)
  }

  /** The key of the log of a product in its one-line form; made now if there is none. */
  async keyOf(product: string): Promise<string> {
    return formatVerifierKey((await this.#signer(product)).key)
  }

  /** The first key of a log has the name of its product in the vault; each origin that follows has a key of its own. */
  async #signer(product: string): Promise<NoteSigner> {
    const origin = `${this.#settings.origin}/p/${product}/log`
    const first = await this.#keys.signer(`log/${product}`, origin, 'note')
    const shown = await shownKey(this.#context.metadata, product)
    if (shown === undefined || shown === formatVerifierKey(first.key)) return first
    return await this.#keys.signer(`log/${product}/${originHash(origin)}`, origin, 'note')
  }

  /**
   * After another origin came into force: the same entries go on under its name and its key, and what is on offer is
   * proved by it. The way back is closed: two names in turn would be two logs to those who watch.
   *
   * @returns Whether the log goes on.
   */
  async #succeed(product: string, signer: NoteSigner): Promise<boolean> {
    const { metadata } = this.#context
    const shown = await shownKey(metadata, product)
    const before = await logStates.get(metadata, product)
    if (before === undefined || shown === undefined || shown === formatVerifierKey(signer.key)) return true
    if (before.former.includes(signer.key.name)) {
      const problem = `The log goes on under ${parseVerifierKey(shown).name}: "${signer.key.name}" has ended`
      await this.#note(product, { ...before, problem })
      return false
    }
    const problem = await this.#mayGrow(product, signer, { ...before, problem: '' })
    if (problem === '')
      await metadata.transaction([logLock(product)], (records) => this.#take(records, product, signer))
    else await this.#note(product, { ...before, problem })
    return problem === ''
  }

  /** Signs the tree as it is with another key, and has the proofs of what is on offer made again. */
  async #take(records: RecordWriter, product: string, signer: NoteSigner): Promise<void> {
    const state = await logStates.get(records, product)
    const shown = await shownKey(records, product)
    if (state === undefined || shown === undefined || shown === formatVerifierKey(signer.key)) return
    const { size } = state
    const checkpoint = await signCheckpoint({ size, root: await treeRoot(storedTiles(records, product), size) }, signer)
    const vkey = formatVerifierKey(signer.key)
    await documents.put(
      records,
      documentRecord(logDocument(product, 'checkpoint'), checkpoint),
      documentRecord(logDocument(product, 'key'), utf8Encode(`${vkey}\n`)),
    )
    const former = [...state.former, parseVerifierKey(shown).name]
    await logStates.put(records, { key: product, value: { ...state, vkey, witnessed: {}, problem: '', former } })
    for (const { channel, version } of await offeredReleases(records, product)) {
      const proof = await documents.body(records, proofDocument(product, channel, version))
      if (proof === undefined) continue
      const { index } = parseProof(proof)
      await this.#storeProof(records, { product, channel, version, index, size, checkpoint })
      await unproved.put(records, { key: `${product}/${channel}/${version}`, value: { index } })
    }
    await records.notify('documents', '')
  }

  #logOf(product: string, { key }: NoteSigner, size: number): WitnessedLog {
    const source = storedTiles(this.#context.metadata, product)
    return { key, source, size, http: { ...this.#settings.http, signal: this.#stopped.signal } }
  }

  /** Compares with the witnesses once in the life of a process, and again as long as they do not let the log grow. */
  async #mayGrow(product: string, signer: NoteSigner, state: LogState): Promise<string> {
    if (this.#compared.has(product) && state.problem === '') return ''
    const problem = await refusalByWitnesses(this.#logOf(product, signer, state.size), this.#settings.policy)
    if (problem === undefined) this.#compared.add(product)
    else this.#context.log.error({ product, problem }, 'the log of releases does not grow')
    return problem ?? ''
  }

  /**
   * After another policy came into force: what is on offer was proved by the witnesses of before, and asks those of
   * now. Looked at once in the life of a process, since a policy comes with one.
   */
  async #renewProofs(product: string): Promise<void> {
    if (this.#renewed.has(product)) return
    this.#renewed.add(product)
    const { metadata } = this.#context
    for (const { channel, version } of await offeredReleases(metadata, product)) {
      const proof = await documents.body(metadata, proofDocument(product, channel, version))
      if (proof === undefined) continue
      const { index, checkpoint } = parseProof(proof)
      if (reachable(this.#stillToSign(parseNote(checkpoint))).length === 0) continue
      const key = `${product}/${channel}/${version}`
      await metadata.transaction([logLock(product)], (records) => unproved.put(records, { key, value: { index } }))
    }
  }

  async #append(product: string, signer: NoteSigner): Promise<void> {
    const { metadata } = this.#context
    for (;;) {
      if ((await missingEntries(metadata, product)).length === 0) return
      const before = (await logStates.get(metadata, product)) ?? emptyState(signer)
      const problem = await this.#mayGrow(product, signer, before)
      if (problem !== '') return await this.#note(product, { ...before, problem })
      // Another replica may have been first: what is missing is read again under the lock.
      await metadata.transaction([logLock(product)], (records) => this.#appendBatch(records, product, signer))
    }
  }

  async #appendBatch(records: RecordWriter, product: string, signer: NoteSigner): Promise<void> {
    const missing = (await missingEntries(records, product)).slice(0, MAX_BATCH)
    if (missing.length === 0) return
    const state = (await logStates.get(records, product)) ?? emptyState(signer)
    const source = storedTiles(records, product)
    const entries = missing.map(({ bytes }) => bytes)
    const grown = await appendEntries(source, state.size, entries)
    await storeGrown(records, product, grown, entries)
    const checkpoint = await signCheckpoint(grown, signer)
    await documents.put(
      records,
      documentRecord(logDocument(product, 'checkpoint'), checkpoint),
      documentRecord(logDocument(product, 'key'), utf8Encode(`${formatVerifierKey(signer.key)}\n`)),
    )
    await logStates.put(records, { key: product, value: { ...state, size: grown.size, problem: '' } })
    for (const [at, { release }] of missing.entries()) {
      if (release === undefined) continue
      const index = state.size + at
      await this.#storeProof(records, { product, ...release, index, size: grown.size, checkpoint })
      await unproved.put(records, { key: `${product}/${release.channel}/${release.version}`, value: { index } })
    }
    await records.notify('documents', '')
  }

  async #storeProof(
    records: RecordWriter,
    proof: {
      readonly product: string
      readonly channel: string
      readonly version: string
      readonly index: number
      readonly size: number
      readonly checkpoint: Uint8Array
    },
  ): Promise<void> {
    const { product, channel, version, index, size, checkpoint } = proof
    const hashes = await proveInclusion(storedTiles(records, product), index, size)
    const bytes = formatProof({ index, hashes, checkpoint, extra: undefined })
    await documents.put(records, documentRecord(proofDocument(product, channel, version), bytes))
  }

  async #note(product: string, state: LogState): Promise<void> {
    await this.#context.metadata.transaction([logLock(product)], async (records) => {
      const now = await logStates.get(records, product)
      if (now === undefined || now.size === state.size) await logStates.put(records, { key: product, value: state })
    })
  }

  /** Asks the witnesses, and stores what they signed with the checkpoint and with each proof that waits for it. */
  async #prove(product: string, signer: NoteSigner, state: LogState): Promise<void> {
    const { metadata } = this.#context
    const checkpoint = await documents.body(metadata, logDocument(product, 'checkpoint'))
    if (checkpoint === undefined) return
    const log = this.#logOf(product, signer, state.size)
    const { witnessed } = state
    const answers = await askWitnesses(log, this.#stillToSign(parseNote(checkpoint)), { checkpoint, witnessed })
    for (const { name, error } of answers.failed)
      this.#context.log.warn({ product, witness: name, err: reasonOf(error) }, 'a witness did not sign')
    await metadata.transaction([logLock(product)], (records) =>
      this.#storeSigned(records, product, { size: state.size, answers }),
    )
  }

  /** The policy with those witnesses only that have not signed a checkpoint. */
  #stillToSign(note: SignedNote): Policy {
    const { policy } = this.#settings
    return { ...policy, witnesses: policy.witnesses.filter((witness) => !hasSigned(note, witness)) }
  }

  async #storeSigned(
    records: RecordWriter,
    product: string,
    { size, answers }: { readonly size: number; readonly answers: WitnessAnswers },
  ): Promise<void> {
    const state = await logStates.get(records, product)
    const place = logDocument(product, 'checkpoint')
    const before = await documents.body(records, place)
    // It grew in between: who made it grow asks for the new checkpoint.
    if (state?.size !== size || before === undefined) return
    const note = addSignatures(
      parseNote(before),
      answers.signed.map(({ signature }) => signature),
    )
    const isDone = reachable(this.#stillToSign(note)).length === 0
    if (answers.signed.length === 0 && !isDone) return
    const checkpoint = formatNote(note)
    await documents.put(records, documentRecord(place, checkpoint))
    const witnessed = { ...state.witnessed, ...Object.fromEntries(answers.signed.map(({ name }) => [name, size])) }
    await logStates.put(records, { key: product, value: { ...state, witnessed } })
    for (const { key, value } of await unproved.all(records, { prefix: `${product}/` })) {
      const [, channel = '', version = ''] = key.split('/')
      await this.#storeProof(records, { product, channel, version, index: value.index, size, checkpoint })
      if (isDone) await unproved.delete(records, key)
    }
    await records.notify('documents', '')
  }
}

function emptyState(signer: NoteSigner): LogState {
  return { size: 0, vkey: formatVerifierKey(signer.key), witnessed: {}, problem: '', former: [] }
}

/** The key that the log of a product shows everybody; `undefined` before its first entry. */
async function shownKey(records: RecordReader, product: string): Promise<string | undefined> {
  const bytes = await documents.body(records, logDocument(product, 'key'))
  return bytes === undefined ? undefined : utf8Decode(bytes).trim()
}

function hasSigned({ signatures }: SignedNote, { key }: PolicyWitness): boolean {
  return signatures.some((line) => line.name === key.name && equalBytes(line.keyId, key.keyId))
}
