import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { LauncherError, storedSettings } from '@keyturn/install-engine'
import type { Settings } from '@keyturn/install-engine'
import { pathExists } from '@keyturn/primitives/node'
import { askForPage, startDaemon } from '../daemon/daemon.ts'
import type { Daemon } from '../daemon/daemon.ts'
import type { ChooseOptions } from '../daemon/snapshot.ts'
import type { BrandImage, PageBrand } from '../page/brand.ts'
import { defaultFolder } from './default-folder.ts'
import { holdsInstall, lookAtFolder, prepareInstallFolder } from './install-folder.ts'
import type { PlayerConfig } from '../player-config.ts'
import { runningVersion } from './bundle-pointer.ts'
import { readPlayerState, writePlayerState } from './player-state.ts'
import { SelfUpdate } from './self-update.ts'
import { openWindow, removeHandOver } from '../daemon/window.ts'

/** What a session runs with. */
export interface PlayerContext {
  readonly root: string
  readonly runningSha256: string | undefined
  readonly asset: (name: string) => ArrayBuffer
  readonly config: PlayerConfig
  /** The launcher's own folder, `.launcher` in the root. */
  readonly stateFolder: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly signal: AbortSignal
  /** Starts the launcher once more, when a newer one has been fetched for a release; seam for tests. */
  readonly startAgain?: (() => void) | undefined
}

function startAgain(): void {
  spawn(process.execPath, [], { detached: true, stdio: 'ignore' }).unref()
}

/** A launcher without a page and without work ends after this time. */
const IDLE_MS = 60_000
/** Until a page was opened: a player without a known browser opens the printed address by hand. */
const IDLE_BEFORE_PAGE_MS = 10 * 60_000
const LOOK_MS = 5_000
/** A launcher that served this long works; its bundle is confirmed. */
const CONFIRM_MS = 10_000

/** A double-click: one launcher per install, its page in a window, until nobody needs it. */
export class PlayerSession {
  readonly #context: PlayerContext
  readonly #done = new AbortController()
  #isRenewed = false

  constructor(context: PlayerContext) {
    this.#context = context
  }

  /** Runs until the player quits, or nothing is left to do. Returns the exit code. */
  async run(): Promise<number> {
    const { config, stateFolder } = this.#context
    const { installFolder } = await readPlayerState(stateFolder)
    const folder = installFolder ?? defaultFolder(this.#context)
    // A game that was moved away, or whose disk is not there, is not installed again in its old place unasked.
    const isChosen = installFolder === undefined ? await holdsInstall(folder) : await pathExists(folder)
    const daemon = await this.#startOrShow(folder, isChosen)
    if (daemon === undefined) return 0
    const update = new SelfUpdate({ ...this.#context, folder: stateFolder })
    const timer = setTimeout(() => void update.confirm(), CONFIRM_MS)
    timer.unref()
    try {
      await openWindow(daemon.pageAddress(), { folder: stateFolder, env: this.#context.env })
      // The launcher works as it is; the next start looks again.
      const first = config.server === '' ? Promise.resolve(false) : update.check().catch(() => false)
      this.#renewWhenTooOld(daemon, async () => (await first) || (await update.check()))
      await this.#untilIdle(daemon)
    } finally {
      clearTimeout(timer)
      await update.stop()
      await removeHandOver(stateFolder)
      await daemon.close(this.#isRenewed)
    }
    await update.confirm()
    if (this.#isRenewed) (this.#context.startAgain ?? startAgain)()
    return 0
  }

  /** A release that needs a newer launcher: this one fetches it, ends, and starts again as that one. */
  #renewWhenTooOld({ supervisor }: Daemon, fetchNewer: () => Promise<boolean>): void {
    let isAsked = false
    const look = async (): Promise<void> => {
      const { lastError } = await supervisor.snapshot()
      if (isAsked || lastError?.code !== 'MAN_LAUNCHER_TOO_OLD') return
      isAsked = true
      if (!(await fetchNewer()) || supervisor.isBusy) return // a game that runs is not left alone
      this.#isRenewed = true
      this.#done.abort()
    }
    supervisor.listen(({ type }) => void (type === 'changed' && look().catch(() => undefined)))
  }

  /** A second start shows the first one's page. */
  async #startOrShow(folder: string, isChosen: boolean): Promise<Daemon | undefined> {
    const { config, stateFolder, env } = this.#context
    try {
      return await startDaemon({
        folder,
        stateFolder,
        settings: isChosen ? await settingsFrom(folder, config) : settingsOf(config),
        brand: await this.#brand(),
        onQuit: () => this.#done.abort(),
        setup: isChosen
          ? undefined
          : {
              folder,
              offerFolder: join(stateFolder, 'offer'),
              look: lookAtFolder,
              choose: async (chosen, options) => await this.#choose(chosen, options),
            },
      })
    } catch (error) {
      if (!(error instanceof LauncherError) || error.code !== 'LA_LOCKED') throw error
      await openWindow(await askForPage(folder, stateFolder), { folder: stateFolder, env })
      return undefined
    }
  }

  async #choose(given: string, options: ChooseOptions): Promise<string> {
    const folder = await prepareInstallFolder(given, options)
    await writePlayerState(this.#context.stateFolder, folder)
    return folder
  }

  async #brand(): Promise<PageBrand> {
    const { config, stateFolder, runningSha256 } = this.#context
    const { name, accent, languages } = config
    const version = await runningVersion(stateFolder, runningSha256, config.version)
    return {
      name,
      accent,
      languages,
      launcher: { name, version },
      logo: this.#image('logo'),
      background: this.#image('background'),
    }
  }

  #image(name: string): BrandImage | undefined {
    try {
      const bytes = new Uint8Array(this.#context.asset(name))
      const type = bytes[0] === 0x89 ? 'image/png' : bytes[0] === 0xff ? 'image/jpeg' : 'image/webp'
      return { type, bytes }
    } catch {
      return undefined // the studio gave none
    }
  }

  /** Ends when the player or a command asks for it, or when for a minute no page was open and nothing was running. */
  async #untilIdle(daemon: Daemon): Promise<void> {
    const end = AbortSignal.any([this.#context.signal, this.#done.signal])
    let idleSince = performance.now()
    let limitMs = IDLE_BEFORE_PAGE_MS
    while (!end.aborted) {
      if (daemon.openPages > 0) limitMs = IDLE_MS
      if (daemon.openPages > 0 || daemon.supervisor.isBusy) idleSince = performance.now()
      else if (performance.now() - idleSince > limitMs) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK_MS)
        end.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
      })
    }
  }
}

/** What the player chose on the page stays; what the studio put into the executable goes before it. */
export async function settingsFrom(folder: string, config: PlayerConfig): Promise<ReturnType<typeof settingsOf>> {
  const kept = await storedSettings(folder).catch(() => ({}) as Settings) // damaged: as if nothing had been chosen
  const own = settingsOf(config)
  // The studio turns reports on; the player may say no.
  const reports = own.reports === true ? kept.reports !== false : undefined
  return { ...kept, ...own, channel: kept.channel ?? config.channel, reports }
}

/** Server and pin come from the executable only. */
export function settingsOf({
  server,
  trust,
  channel,
  product,
  target,
  telemetry,
}: PlayerConfig): Settings & { readonly server: string; readonly trust: string } {
  return { server, trust, channel, target, product, reports: telemetry ? true : undefined }
}
