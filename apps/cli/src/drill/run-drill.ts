import { trustPin } from '@keyturn/publisher/release'
import type { Context } from '../command.ts'
import { sampleClient } from '../demo/stage.ts'
import type { Tamper } from '../demo/stage.ts'
import { CliError } from '../errors.ts'
import { Launchers } from './launchers.ts'
import type { Followed, WaitOptions } from './launchers.ts'
import { drillPlans } from './plans.ts'
import type { DrillKind, Watch } from './plans.ts'
import { BACKUP, Shadow } from './shadow.ts'
import type { ShadowNames, TypedCommand } from './shadow.ts'
import { startThief } from './thief.ts'

/** How a drill is run. */
export interface DrillOptions {
  readonly kind: DrillKind
  /** A new, empty folder where everything happens. */
  readonly folder: string
  readonly names: ShadowNames
  readonly launchers: number
  /** Pause between two looks of a launcher. */
  readonly checkMs: number
  /** How long the launchers are waited for, each time. */
  readonly timeoutMs: number
}

/** When something was reached, in milliseconds after the event. */
export interface Milestone {
  readonly what: string
  readonly firstMs: number | undefined
  /** Undefined when not every launcher was there in time. */
  readonly lastMs: number | undefined
  readonly missing: number
}

/** What a thief tried, and what came of it. */
export interface Attempt {
  readonly what: string
  readonly launchers: number
  readonly installs: number
  /** How many launchers refused with each code. */
  readonly refusals: Readonly<Record<string, number>>
}

/** What a drill measured. */
export interface DrillReport {
  readonly kind: DrillKind
  readonly startedMs: number
  readonly names: ShadowNames
  readonly launchers: number
  readonly processes: number
  readonly checkMs: number
  readonly milestones: readonly Milestone[]
  readonly attempts: readonly Attempt[]
  readonly typed: readonly TypedCommand[]
  readonly checks: number
  /** How many looks for an update ended with each code. */
  readonly refusedChecks: Readonly<Record<string, number>>
  readonly plays: number
  readonly playProblems: readonly string[]
  /** What did not hold, in words; empty when the drill held. */
  readonly failures: readonly string[]
}

/** The versions of a drill: before the event, and after it. */
const VERSIONS = ['1.0', '1.1'] as const
/** What a launcher says once it has seen that a key has ended. */
const ENDED = 'MAN_KEY_KILLED'

/** Practises one event on a shadow product. */
export class Drill implements Watch {
  readonly #context: Context
  readonly #options: DrillOptions
  readonly #shadow: Shadow
  readonly #launchers: Launchers
  readonly #milestones: Milestone[] = []
  readonly #attempts: Attempt[] = []
  readonly #failures: string[] = []
  #startedMs = 0

  constructor(context: Context, options: DrillOptions) {
    this.#context = context
    this.#options = options
    this.#shadow = new Shadow(context, options.folder, options.names)
    this.#launchers = new Launchers(this.#shadow.path('launchers'), options.launchers)
  }

  get #wait(): WaitOptions {
    return { timeoutMs: this.#options.timeoutMs, signal: this.#context.signal }
  }

  /**
   * Runs it to the end. What did not hold is in the report.
   *
   * @throws {@link CliError} `CLI_DRILL` when it could not even begin.
   */
  async run(): Promise<DrillReport> {
    const { out, signal } = this.#context
    const plan = drillPlans[this.#options.kind]
    this.#context.defer(() => this.#launchers.stop())
    await this.#before()
    signal.throwIfAborted()
    out.step('event', plan.happens)
    this.#startedMs = Date.now()
    await plan.happen(this.#shadow)
    try {
      await plan.respond(this.#shadow, this)
      await this.#nextRelease()
      await plan.attack?.(this.#shadow, this)
      await this.playOnce()
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof CliError)) throw error
      this.#failures.push(error.message)
    }
    await this.#launchers.stop()
    return this.#report()
  }

  /** A normal day: release 1.0 is installed everywhere and played, and the nightly backup is made. */
  async #before(): Promise<void> {
    const { out } = this.#context
    const { launchers, checkMs } = this.#options
    out.step('shadow', 'Making a shadow product: keys, server, release')
    await this.#shadow.prepare()
    await this.#publish(VERSIONS[0])
    await this.#succeed(['backup', BACKUP])
    out.step('launchers', `Installing on ${launchers} launchers`)
    await this.#launchers.start({
      server: `${this.#shadow.url}/`,
      trust: await trustPin(await this.#shadow.open('home')),
      product: this.#options.names.product,
      channel: this.#options.names.channel,
      program: [process.execPath, sampleClient(), '--dir'],
      checkMs,
    })
    const installed = await this.#launchers.all(({ version }) => version === VERSIONS[0], this.#wait)
    const hasPlayed = await this.#launchers.playOnce(this.#wait)
    if (installed.lastMs === undefined || !hasPlayed || this.#launchers.plays.problems.length > 0)
      throw new CliError('CLI_DRILL', `The drill could not begin: ${installed.missing} launchers did not install`)
  }

  async #succeed(words: readonly string[]): Promise<void> {
    const { code } = await this.#shadow.run(words)
    if (code !== '')
      throw new CliError('CLI_DRILL', `The drill could not begin: "keyturn ${words[0]}" ended with ${code}`)
  }

  async #publish(version: string): Promise<void> {
    await this.#shadow.changeClient()
    await this.#succeed(['ship', '--version-name', version])
  }

  /** The publisher goes on working: the last launcher follows once it has the next release. */
  async #nextRelease(): Promise<void> {
    await this.#shadow.changeClient()
    await this.#shadow.type('ship', '--version-name', VERSIONS[1])
    const done = await this.#launchers.all(({ version, code }) => version === VERSIONS[1] && code === '', this.#wait)
    this.#reached('every launcher follows: the next release is installed', done)
  }

  #reached(what: string, { firstMs, lastMs, missing }: Followed): void {
    const after = (ms: number | undefined): number | undefined => (ms === undefined ? undefined : ms - this.#startedMs)
    this.#milestones.push({ what, firstMs: after(firstMs), lastMs: after(lastMs), missing })
    this.#context.out.step('milestone', what)
    if (lastMs === undefined) throw new CliError('CLI_DRILL', `${missing} launchers were not in time: ${what}`)
  }

  async protectedFromNowOn(): Promise<void> {
    const since = Date.now()
    const done = await this.#launchers.all(({ startedMs, code }) => startedMs >= since && code === ENDED, this.#wait)
    this.#reached('no launcher installs what the stolen key signs', done)
  }

  async playOnce(): Promise<void> {
    if (!(await this.#launchers.playOnce(this.#wait)))
      throw new CliError('CLI_DRILL', 'Not every player could start the game in time')
  }

  async thiefShows(what: string, tamper: Tamper): Promise<void> {
    const thief = await startThief(this.#shadow.url, tamper)
    try {
      this.#context.out.step('thief', `A thief shows ${what}`)
      const visits = await this.#launchers.visit(`${thief.url}/`, this.#wait)
      const refusals: Record<string, number> = {}
      for (const { code } of visits) if (code !== '') refusals[code] = (refusals[code] ?? 0) + 1
      const installs = visits.filter(({ isChanged }) => isChanged).length
      this.#attempts.push({ what, launchers: visits.length, installs, refusals })
      if (installs > 0) this.#failures.push(`${installs} launchers installed what the thief showed: ${what}`)
      if (visits.length < this.#options.launchers) this.#failures.push(`Not every launcher was shown ${what}`)
    } finally {
      await thief.close()
    }
  }

  serverAnswers(what: string, code: string): void {
    this.#attempts.push({ what, launchers: 0, installs: 0, refusals: code === '' ? {} : { [code]: 1 } })
    if (code === '') this.#failures.push(`The server accepted ${what}`)
  }

  #report(): DrillReport {
    const { kind, names, launchers, checkMs } = this.#options
    const { plays, problems } = this.#launchers.plays
    if (problems.length > 0) this.#failures.push(`Players noticed it: ${problems[0]}`)
    return {
      kind,
      startedMs: this.#startedMs,
      names,
      launchers,
      processes: this.#launchers.processes,
      checkMs,
      milestones: this.#milestones,
      attempts: this.#attempts,
      typed: this.#shadow.typed,
      checks: this.#launchers.checks.count,
      refusedChecks: this.#launchers.checks.refusals,
      plays,
      playProblems: problems,
      failures: this.#failures,
    }
  }
}
