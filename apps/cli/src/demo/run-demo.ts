import { fileURLToPath } from 'node:url'
import { formatBytes, hexDecode, hexEncode, KeyturnError } from '@keyturn/primitives'
import { keyCommitment } from '@keyturn/m2pack-format'
import type { Context } from '../command.ts'
import { CliError } from '../errors.ts'
import { activeContentKey, keyAlias } from '@keyturn/publisher'
import { findRelease, readStoredHead, rolesInForce } from '@keyturn/publisher/records'
import { trustPin } from '@keyturn/publisher/release'
import type { StoredHead } from '@keyturn/publisher/records'
import {
  contentRotation,
  contentRotationSteps,
  identityRotation,
  identityRotationSteps,
  planContentRotation,
  runRotationSteps,
} from '@keyturn/publisher/rotation'
import type { Rotation, RotationStep } from '@keyturn/publisher/rotation'
import { counted } from '../output.ts'
import { flippedByte, forgedInteraction, forgedManifest, forgedRotation, staleHead } from './forgeries.ts'
import { copyDependencies, copyTree, editTree, nearestModules } from './input.ts'
import type { DemoTree } from './input.ts'
import { packRelease, playOnce, publishTree } from './release-steps.ts'
import { currentTree, demoNames, Stage } from './stage.ts'
import type { Tamper } from './stage.ts'
import { DemoSteps } from './steps.ts'
import type { StepOutcome } from './steps.ts'

/** What the demonstration works on. */
export interface DemoOptions {
  /** Tree to release; default: the workspace's own installed dependencies. */
  readonly input: string | undefined
  /** Folder where everything happens; must be new. */
  readonly folder: string
}

/** The sums of the demonstration. */
export interface DemoTotals {
  readonly files: number
  readonly input_bytes: number
  readonly archive_bytes: number
  /** First install: what a full download costs. */
  readonly full_bytes: number
  readonly content_turn_bytes: number
  readonly edit_bytes: number
  readonly identity_turn_bytes: number
  readonly checks: number
  readonly refusals: number
}

/** Most that a new content key may cost, as a share of a full download. */
const CONTENT_TURN_SHARE = 0.01
/** Most that an edit of 3 % of the files may cost. */
const EDIT_SHARE = 0.1
/** Below this a chunk or two are already a large share. */
const SMALL_BYTES = 32_000_000

/** The whole story on one machine, every step real. */
export class Demo {
  readonly stage: Stage
  readonly steps: DemoSteps
  readonly #context: Context
  readonly #options: DemoOptions
  #tree: DemoTree | undefined
  #release = 0
  #full = 0
  #turn = 0
  #edit = 0
  #identity = 0
  #archiveBytes = 0
  #refusals = 0
  #headOfRelease2: StoredHead | undefined

  /**
   * @param context - The command.
   * @param options - Input and folder.
   */
  constructor(context: Context, options: DemoOptions) {
    this.#context = context
    this.#options = options
    this.stage = new Stage(context, options.folder)
    this.steps = new DemoSteps(context.out)
  }

  /** Runs every step. Throws when one cannot be done at all; what merely did not hold is in the steps. */
  async run(): Promise<void> {
    await this.#prepare()
    await this.#firstRelease()
    await this.#rotateContentKey()
    await this.#secondRelease()
    await this.#rotateIdentity()
    await this.#thirdRelease()
    await this.#refuseThieves()
    await this.#refuseTampering()
    await this.#stillWhole()
  }

  /** The sums so far. */
  totals(): DemoTotals {
    return {
      files: this.#tree?.files ?? 0,
      input_bytes: this.#tree?.bytes ?? 0,
      archive_bytes: this.#archiveBytes,
      full_bytes: this.#full,
      content_turn_bytes: this.#turn,
      edit_bytes: this.#edit,
      identity_turn_bytes: this.#identity,
      checks: this.steps.steps.length,
      refusals: this.#refusals,
    }
  }

  async #prepare(): Promise<void> {
    const { stage, steps } = this
    await steps.run('input', async () => {
      const { input } = this.#options
      const modules =
        input === undefined ? await nearestModules(fileURLToPath(new URL('.', import.meta.url))) : undefined
      if (input === undefined && modules === undefined)
        throw new CliError('BUILD_EMPTY', 'No installed dependencies to take as input', {
          hint: 'Give a tree with --input',
        })
      const tree =
        input === undefined
          ? await copyDependencies(modules ?? '', stage.path('source'), stage.signal)
          : await copyTree(input, stage.path('source'), stage.signal)
      this.#tree = tree
      return {
        bytes: tree.bytes,
        note: `${counted(tree.files, 'file')}${tree.skipped > 0 ? `, ${tree.skipped} links or oversized left out` : ''}`,
      }
    })
    await steps.run('keystore-and-identity', async () => {
      const created = await stage.openHome()
      return { note: created.pin }
    })
    await steps.run('content-key-1', async () => {
      const active = activeContentKey(stage.home.description)
      const commitment = await (
        await stage.home.keys()
      ).lend(keyAlias.content(1), (key) => keyCommitment({ keyId: 1, key }))
      return {
        ok: hexEncode(commitment) === active.commitment && hexDecode(active.verifierPub).length === 32,
        note: `commitment ${active.commitment.slice(0, 16)}…`,
      }
    })
  }

  async #firstRelease(): Promise<void> {
    const { stage, steps } = this
    await steps.run('archives', () => this.#pack(undefined))
    await steps.run('release-server', async () => {
      await stage.startServer()
      return { note: `${stage.url}, embedded storage` }
    })
    await steps.run('release-1', () => this.#publish())
    await steps.run('install', async () => {
      stage.openInstall(await trustPin(stage.home))
      const result = await stage.update('install')
      this.#full = result.downloadedBytes
      return {
        bytes: result.downloadedBytes,
        ok: result.outcome === 'updated',
        note: `${result.version ?? ''}, ${counted(result.writtenFiles, 'file')}`,
      }
    })
    await steps.run('start-client-1', () => this.#play(1))
  }

  async #rotateContentKey(): Promise<void> {
    const { stage, steps } = this
    await steps.run('rotate-content-key', async () => {
      const options = {
        channel: demoNames.channel,
        client: stage.client,
        nowMs: this.#context.clock(),
        signal: stage.signal,
      }
      const plan = await planContentRotation(stage.home, options)
      const { state } = await this.#rotate(contentRotation, contentRotationSteps(stage.home, plan, options))
      this.#release += 1
      return {
        bytes: state.uploadedBytes ?? 0,
        note: `key_id ${plan.from} to ${plan.to}, ${counted(state.archives?.count ?? 0, 'archive')} rewrapped`,
      }
    })
    await steps.run('update-after-rotation', async () => {
      const result = await stage.update('update')
      this.#turn = result.downloadedBytes
      return this.#share(result.downloadedBytes, CONTENT_TURN_SHARE, result.outcome === 'updated')
    })
    await steps.run('start-client-2', () => this.#play(2))
  }

  async #secondRelease(): Promise<void> {
    const { stage, steps } = this
    await steps.run('edit-3-percent', async () => {
      const { files, modules } = await editTree(this.#input(), 0.03, 'release 2', stage.signal)
      return { note: `${counted(files, 'file')} in ${modules} modules` }
    })
    await steps.run('archives-2', () => this.#pack(currentTree(stage)))
    await steps.run('release-2', () => this.#publish())
    this.#headOfRelease2 = await readStoredHead(stage.home.paths, demoNames.channel)
    await steps.run('delta-update', async () => {
      const result = await stage.update('update')
      this.#edit = result.downloadedBytes
      return this.#share(result.downloadedBytes, EDIT_SHARE, result.outcome === 'updated')
    })
    await steps.run('start-client-3', () => this.#play(2))
  }

  async #rotateIdentity(): Promise<void> {
    const { stage, steps } = this
    await steps.run('rotate-identity', async () => {
      const before = await stage.installHash()
      await this.#rotate(
        identityRotation,
        identityRotationSteps(stage.home, {
          channels: [demoNames.channel],
          client: stage.client,
          nowMs: this.#context.clock(),
          // Kept for the theft that is shown later.
          keepOldKey: true,
        }),
      )
      const { document } = await rolesInForce(stage.home.paths, stage.home.description.identity.prefix)
      const whole = before === (await stage.installHash())
      return {
        ok: document.version === 2 && whole,
        note: `role document ${document.version}, release key rotated with it`,
      }
    })
    await steps.run('update-after-identity', async () => {
      const before = await stage.installHash()
      const result = await stage.update('update')
      const written = result.writtenFiles
      // Log, role document, head and signatures are some kilobytes; files: none.
      this.#identity = result.downloadedBytes
      const { trust } = await stage.engine.status()
      return {
        bytes: result.downloadedBytes,
        ok: written === 0 && trust === 'current' && before === (await stage.installHash()),
        note: `${counted(written, 'file')} to download, trust ${trust}`,
      }
    })
  }

  async #thirdRelease(): Promise<void> {
    const { stage, steps } = this
    await steps.run('release-3', async () => {
      await editTree(this.#input(), 0.001, 'release 3', stage.signal)
      await this.#pack(currentTree(stage))
      return await this.#publish()
    })
    await steps.run('update-3', async () => {
      const result = await stage.update('update')
      return {
        bytes: result.downloadedBytes,
        ok: result.outcome === 'updated',
        note: `${result.version ?? ''} accepted under the new keys`,
      }
    })
  }

  async #refuseThieves(): Promise<void> {
    const { home } = this.stage
    const release = await findRelease(home.paths, demoNames.channel)
    const head = await readStoredHead(home.paths, demoNames.channel)
    if (head === undefined) throw new TypeError('No head was signed')
    await this.#refused(
      'old-release-key',
      await forgedManifest(home, release, head, { oldKey: keyAlias.release(1) }),
      /^MAN_(SIGNATURE|THRESHOLD|KEY_RETIRED|KEY_UNKNOWN)$/,
    )
    await this.#refused('old-identity-key', await forgedRotation(home, keyAlias.identity(1)), /^KEL_/)
    await this.#refused('interaction-event', await forgedInteraction(home, keyAlias.identity(2)), /^(KEL_|TRUST_)/)
  }

  async #refuseTampering(): Promise<void> {
    const { stage, steps } = this
    await steps.run('release-4', async () => {
      await editTree(this.#input(), 0.001, 'release 4', stage.signal)
      await this.#pack(currentTree(stage))
      return await this.#publish()
    })
    // In this order: a manifest that was accepted once is kept, so the archives come last.
    await this.#refused(
      'manifest-byte',
      flippedByte((path) => /\/manifests\/[^/]+\.json$/.test(path) && !path.endsWith('.sigs.json')),
      /^MAN_(PIN|SIGNATURE)$/,
    )
    await this.#refused(
      'archive-byte',
      flippedByte((path) => path.startsWith('files/')),
      /^LA_HASH$/,
    )
    if (this.#headOfRelease2 === undefined) throw new TypeError('No head of release 2 was kept')
    await this.#refused('stale-manifest', staleHead(this.#headOfRelease2.bytes), /^MAN_ROLLBACK$/)
  }

  async #stillWhole(): Promise<void> {
    const { stage, steps } = this
    await steps.run('update-4', async () => {
      const result = await stage.update('update')
      return {
        bytes: result.downloadedBytes,
        ok: result.outcome === 'updated',
        note: `${result.version ?? ''} installs once every answer is honest`,
      }
    })
    await steps.run('repair', async () => {
      const { outcome, downloadedBytes } = await stage.engine.repair({ signal: stage.signal })
      return {
        bytes: downloadedBytes,
        ok: outcome === 'up-to-date',
        note: 'every byte of the install read again: nothing to repair',
      }
    })
    await steps.run('start-with-server-down', async () => {
      await stage.stopServer()
      try {
        return await this.#play(2, true)
      } finally {
        await stage.startServer()
      }
    })
  }

  /** An attack must be refused with a code of its own, and change nothing. */
  async #refused(name: string, tamper: Tamper, expected: RegExp): Promise<void> {
    const { stage, steps } = this
    await steps.run(`refuse-${name}`, async () => {
      const before = await stage.installHash()
      const { version } = await stage.engine.status()
      const code = await stage.tampered(tamper, async () => {
        try {
          const { outcome } = await stage.engine.update({ signal: stage.signal })
          return `it was not refused (${outcome})`
        } catch (error) {
          if (error instanceof KeyturnError) return error.code
          throw error
        }
      })
      const after = await stage.engine.status()
      const ok = expected.test(code) && before === (await stage.installHash()) && after.version === version
      if (ok) this.#refusals += 1
      return { ok, note: `${code}, client unchanged` }
    })
  }

  async #rotate<State>(
    rotation: Rotation<State>,
    steps: readonly RotationStep<State>[],
  ): Promise<{ state: State; resumed: boolean }> {
    return await runRotationSteps(rotation, steps, {
      folder: this.stage.home.paths.journals,
      nowMs: this.#context.clock(),
      signal: this.stage.signal,
    })
  }

  async #pack(previous: Promise<string> | undefined): Promise<StepOutcome> {
    const { stage } = this
    const packed = await packRelease(
      this.#context,
      stage,
      stage.path('releases', String(this.#release + 1)),
      await previous,
    )
    this.#archiveBytes = packed.bytes
    return packed
  }

  async #publish(): Promise<StepOutcome> {
    this.#release += 1
    return await publishTree(this.#context, this.stage, this.stage.path('releases', String(this.#release)))
  }

  async #play(keyId: number, serverIsDown = false): Promise<StepOutcome> {
    return await playOnce(this.stage, keyId, serverIsDown)
  }

  #share(bytes: number, most: number, done: boolean): StepOutcome {
    const share = bytes / Math.max(1, this.#full)
    const isSmall = this.#full < SMALL_BYTES
    const limit = isSmall ? 'an input this small says nothing about shares' : `at most ${most * 100} %`
    return {
      bytes,
      ok: done && (isSmall || share <= most),
      note: `${(share * 100).toFixed(2)} % of a full download (${formatBytes(this.#full)}), ${limit}`,
    }
  }

  #input(): DemoTree {
    if (this.#tree === undefined) throw new TypeError('No input was gathered')
    return this.#tree
  }
}
