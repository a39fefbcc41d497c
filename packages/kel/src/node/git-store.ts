import { concatBytes, utf8Encode } from '@keyturn/primitives'
import { KelError } from '../errors.ts'
import { saidify } from '../said.ts'
import type { DuplicityRecord, KelStore, LogRecord, LogStorage, StoredLog } from '../storage.ts'
import { readFrame } from '../stream.ts'
import { formatVersion } from '../version-string.ts'
import { git } from './git.ts'
import { GitRepository } from './git-repository.ts'

// One ref per identity, `refs/keri/<prefix>/kel`, one commit per accepted event in first-seen order, one parent each:
//   event        the exact body
//   attachments  the exact CESR text after it
//   seen         "<first-seen number> <ISO time> <local|remote>"
// Receipts that come later are in `refs/keri/<prefix>/receipts`, one blob per event, so that the chain never changes;
// proofs of duplicity in `refs/keri/<prefix>/duplicity/<SAID>`. Nothing trusts commit ids.

const prefixForm = /^[A-Za-z0-9_-]{44}$/

function kelRef(prefix: string): string {
  return `refs/keri/${prefix}/kel`
}

function receiptsRef(prefix: string): string {
  return `refs/keri/${prefix}/receipts`
}

/** Splits the version mark: commit of the log, commit of the receipts. */
function parseMark(version: string | undefined): { kel: string | undefined; receipts: string | undefined } {
  const [kel, receipts] = (version ?? '').split('/')
  return {
    kel: kel === '' ? undefined : kel,
    receipts: receipts === undefined || receipts === '-' ? undefined : receipts,
  }
}

function receiptMessage(prefix: string, sn: number, said: string, attachments: Uint8Array): Uint8Array {
  const fields = { v: formatVersion(0), t: 'rct', d: said, i: prefix, s: sn.toString(16) }
  return concatBytes(saidify(fields).body, attachments)
}

class GitLog implements LogStorage {
  readonly #repository: GitRepository
  readonly #prefix: string

  constructor(repository: GitRepository, prefix: string) {
    this.#repository = repository
    this.#prefix = prefix
  }

  async read(): Promise<StoredLog | undefined> {
    const kel = await this.#repository.resolve(kelRef(this.#prefix))
    if (kel === undefined) return undefined
    const receipts = await this.#repository.resolve(receiptsRef(this.#prefix))
    const messages = await this.#messages(kel)
    const late = receipts === undefined ? [] : await this.#receipts(receipts, messages)
    return { stream: concatBytes(...messages, ...late), version: `${kel}/${receipts ?? '-'}` }
  }

  async #messages(tip: string): Promise<readonly Uint8Array[]> {
    const commits = await this.#repository.chain(tip)
    const trees = await this.#repository.trees(commits.map(({ tree }) => tree))
    const blobs = await this.#repository.blobs(
      trees.flatMap((files, at) => {
        const [event, attachments] = [files.get('event'), files.get('attachments')]
        if (event === undefined || attachments === undefined)
          throw new KelError('KEL_CORRUPT', `Commit ${commits[at]?.commit ?? ''} of the log lacks its event`)
        return [event, attachments]
      }),
    )
    return commits.map((_, at) => concatBytes(blobs[2 * at] as Uint8Array, blobs[2 * at + 1] as Uint8Array))
  }

  async #receipts(commit: string, messages: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
    const files = await this.#repository.files(commit)
    const saids = [...files.keys()]
    const blobs = await this.#repository.blobs([...files.values()])
    const sns = new Map(
      messages.map((message) => {
        const { d, s } = JSON.parse(new TextDecoder().decode(readFrame(message, 0).body)) as { d: string; s: string }
        return [d, Number.parseInt(s, 16)] as const
      }),
    )
    return saids.flatMap((said, at) => {
      const sn = sns.get(said)
      return sn === undefined ? [] : [receiptMessage(this.#prefix, sn, said, blobs[at] as Uint8Array)]
    })
  }

  async append(record: LogRecord, expected: string | undefined): Promise<string> {
    const mark = parseMark(expected)
    const frame = readFrame(record.message, 0)
    const attachments = frame.bytes.subarray(frame.body.length)
    const { id, temporary } =
      record.type === 'rct'
        ? await this.#writeReceipt(record, attachments, mark.receipts)
        : await this.#writeEvent(record, frame.body, attachments, mark.kel)
    const [ref, old] =
      record.type === 'rct' ? [receiptsRef(this.#prefix), mark.receipts] : [kelRef(this.#prefix), mark.kel]
    const won = await this.#repository.swap([{ ref, id, old }], [temporary])
    if (!won) throw new KelError('KEL_CONFLICT', `Another process moved ${ref} first`, { details: { ref } })
    return record.type === 'rct' ? `${mark.kel ?? ''}/${id}` : `${id}/${mark.receipts ?? '-'}`
  }

  async #writeEvent(
    record: LogRecord,
    event: Uint8Array,
    attachments: Uint8Array,
    parent: string | undefined,
  ): Promise<{ id: string; temporary: string }> {
    const seen = utf8Encode(`${record.firstSeen} ${new Date(record.seenAtMs).toISOString()} ${record.source}\n`)
    return await this.#repository.write({
      files: [
        { path: 'event', bytes: event },
        { path: 'attachments', bytes: attachments },
        { path: 'seen', bytes: seen },
      ],
      message: `keri ${record.type} s=${record.sn.toString(16)} ${record.said}\n`,
      atMs: record.seenAtMs,
      parent,
    })
  }

  async #writeReceipt(
    record: LogRecord,
    attachments: Uint8Array,
    parent: string | undefined,
  ): Promise<{ id: string; temporary: string }> {
    const known = parent === undefined ? undefined : (await this.#repository.files(parent)).get(record.said)
    const [before] = known === undefined ? [] : await this.#repository.blobs([known])
    return await this.#repository.write({
      files: [{ path: record.said, bytes: before === undefined ? attachments : concatBytes(before, attachments) }],
      message: `keri rct ${record.said}\n`,
      atMs: record.seenAtMs,
      parent,
      keep: true,
    })
  }

  async keepDuplicity({ said, message, against, againstMessage }: DuplicityRecord): Promise<void> {
    const ref = `refs/keri/${this.#prefix}/duplicity/${said}`
    if ((await this.#repository.resolve(ref)) !== undefined) return
    const frame = readFrame(message, 0)
    const { id, temporary } = await this.#repository.write({
      files: [
        { path: 'event', bytes: frame.body },
        { path: 'attachments', bytes: frame.bytes.subarray(frame.body.length) },
        { path: 'against', bytes: utf8Encode(`${against}\n`) },
        { path: 'held.cesr', bytes: againstMessage },
      ],
      message: `keri duplicity ${said} against ${against}\n`,
      atMs: 0,
      parent: undefined,
    })
    // Another process may have kept the same proof in between: then it is there, which is what was wanted.
    await this.#repository.swap([{ ref, id, old: undefined }], [temporary])
  }

  async duplicities(): Promise<readonly Uint8Array[]> {
    const refs = await this.#repository.refs(`refs/keri/${this.#prefix}/duplicity/`)
    return await Promise.all(
      refs.map(async ({ id }) => {
        const files = await this.#repository.files(id)
        const ids = ['held.cesr', 'event', 'attachments'].map((name) => files.get(name))
        return concatBytes(...(await this.#repository.blobs(ids.filter((blob) => blob !== undefined))))
      }),
    )
  }
}

/**
 * Logs in a git repository: one ref per identity, exact bytes, real compare-and-swap by `git update-ref`. The ref only
 * ever moves forward, so a plain `git push` and `git bundle` carry it.
 *
 * @param path - An existing repository, bare or not.
 */
export function gitStore(path: string): KelStore {
  const repository = new GitRepository(path)
  return {
    async list() {
      const refs = await repository.refs('refs/keri/')
      return refs.flatMap(({ ref }) => /^refs\/keri\/([A-Za-z0-9_-]{44})\/kel$/.exec(ref)?.[1] ?? []).sort()
    },
    log(prefix) {
      if (!prefixForm.test(prefix)) throw new TypeError('A prefix has 44 characters of Base64url')
      return new GitLog(repository, prefix)
    },
  }
}

/**
 * Writes everything of one identity into a bundle file that `git fetch` reads.
 *
 * @param path - The repository.
 * @param file - Where the bundle goes, absolute.
 * @throws {@link KelError} `KEL_LOG_MISSING` when there is no such log, `KEL_IO`.
 */
export async function exportBundle(path: string, prefix: string, file: string): Promise<void> {
  const refs = await new GitRepository(path).refs(`refs/keri/${prefix}/`)
  if (refs.length === 0) throw new KelError('KEL_LOG_MISSING', `No log of ${prefix} in the repository`)
  await git(path, ['bundle', 'create', '--quiet', file, ...refs.map(({ ref }) => ref)], { writes: true })
}
