import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { cleanEnvironment, deliveryNamed } from '@keyturn/runtime-key/node'
import type { ChildCommand, RuntimeKeyDelivery } from '@keyturn/runtime-key/node'
import type { RuntimeKey } from '@keyturn/runtime-key'
import { KeyturnError } from '@keyturn/primitives'
import { diskError, LauncherError, whereDiskTakes } from '../errors.ts'
import { forgetClient, rememberClient, runningClient } from '../disk/client-process.ts'
import { DeviceKey } from './device-key.ts'
import { HashCache } from '../disk/hash-cache.ts'
import { hostSystem } from '../disk/host-system.ts'
import type { Fetch } from '../fetch/http.ts'
import type { InstalledRelease } from '../trust/installed-release.ts'
import { makePlan } from '../place/plan.ts'
import { NoiseRuntimeKeys } from './noise-runtime-keys.ts'
import { commandFor } from './program.ts'
import { loadRuntimeKey } from './runtime-key.ts'
import { SealedKeyCache } from './sealed-key-cache.ts'
import type { Session } from '../session.ts'
import type { ReportedRelease } from '../step-reports.ts'
import { readState, writeState } from '../disk/state-file.ts'
import type { InstallState } from '../disk/state-file.ts'
import { bringTo } from '../place/update-run.ts'
import { wantedFiles } from '../place/wanted-files.ts'

/** A client that runs. */
export interface StartedClient {
  readonly child: ChildProcess
  readonly pid: number
  /** Its exit code, `null` when a signal ended it. */
  readonly exited: Promise<number | null>
  /** Whether the start counted as good: it lived long enough or ended well. */
  readonly confirmed: Promise<boolean>
  /**
   * For a launcher that ends while the client runs: a start of which nobody has seen yet whether it lives counts neither
   * way.
   */
  leave(): Promise<void>
}

/** How a client is started. */
export interface StartOptions {
  readonly signal?: AbortSignal | undefined
  readonly stdio?: readonly ('ignore' | 'inherit' | 'pipe' | number)[] | undefined
  readonly args?: readonly string[] | undefined
  readonly isOffline: boolean
  /** Not even for a key. */
  readonly asksNobody: boolean
}

/**
 * Compares every file of the installed release once more, by the hash cache, and repairs what changed since
 * (self-healing start). Without a server a changed file bars the start: nothing unverified is run.
 */
async function heal(
  session: Session,
  installed: InstalledRelease,
  state: InstallState,
  options: StartOptions,
): Promise<InstallState> {
  const { fs } = session.options
  const cache = await HashCache.load(fs, session.layout.hashCache)
  const files = wantedFiles(installed.manifest, session.options)
  const plan = await makePlan({
    fs,
    layout: session.layout,
    files,
    manifest: installed.manifest,
    installedFiles: [],
    cache: state.suspect ? undefined : cache,
    linkedFolders: session.options.linkedFolders,
    concurrency: 16,
    signal: options.signal,
  })
  await whereDiskTakes(() => cache.save(fs, session.layout.hashCache))
  const bad = plan.writes.filter(({ file }) => file.required)
  if (bad.length === 0) return plan.modes.length === 0 ? state : await restoreModes(session, installed, state, options)
  const paths = bad
    .slice(0, 3)
    .map(({ file }) => `"${file.path}"`)
    .join(', ')
  session.emit({
    type: 'notice',
    code: 'LA_HASH',
    message: `${bad.length} installed files are missing or changed: ${paths}`,
  })
  if (options.isOffline) {
    throw new LauncherError(
      'LA_HASH',
      `Cannot start: ${bad.length} installed files are missing or changed (${paths}), and the server cannot be asked`,
      {
        details: { files: bad.length },
        hint: 'Run repair as soon as the server can be reached',
      },
    )
  }
  return await repair(session, installed, state, options)
}

async function repair(
  session: Session,
  installed: InstalledRelease,
  state: InstallState,
  options: StartOptions,
): Promise<InstallState> {
  const signal = options.signal ?? new AbortController().signal
  await session.leaveStaging()
  const release = { ref: installed.ref, manifest: installed.manifest }
  return (await bringTo(session, release, state, { kind: 'repair', verifyAll: false, signal })).state
}

/** Gives back permissions that were lost; needs no server. What fails here shows at the start itself. */
async function restoreModes(
  session: Session,
  installed: InstalledRelease,
  state: InstallState,
  options: StartOptions,
): Promise<InstallState> {
  try {
    return await repair(session, installed, state, options)
  } catch (thrown) {
    options.signal?.throwIfAborted()
    const error = diskError(thrown, 'give back permissions')
    if (!(error instanceof KeyturnError) || error.kind === 'bug') throw error
    session.emit({ type: 'notice', code: error.code, message: error.message })
    return state
  }
}

async function startChild(session: Session, command: ChildCommand, key: RuntimeKey | undefined): Promise<ChildProcess> {
  if (key === undefined) {
    const stdio = command.stdio ?? ['inherit', 'inherit', 'inherit']
    const child = spawn(command.file, [...(command.args ?? [])], {
      env: cleanEnvironment(command.env ?? {}),
      stdio: [...stdio],
      cwd: command.cwd,
      shell: false,
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', (cause) =>
        reject(new LauncherError('LA_CHILD', `Cannot start "${command.file}": ${cause.message.split('\n')[0] ?? ''}`)),
      )
    })
    return child
  }
  const delivery: RuntimeKeyDelivery = deliveryNamed(session.options.delivery)
  const { child, received } = await delivery.deliver(key, command)
  received.catch((error: unknown) => {
    session.emit({
      type: 'notice',
      code: 'LA_CHILD',
      message: error instanceof Error ? error.message : 'The client did not take its key',
    })
  })
  return child
}

/** Starts the verified client with its key, and watches whether the start was good. */
export async function startClient(
  session: Session,
  installed: InstalledRelease,
  before: InstallState,
  options: StartOptions,
): Promise<StartedClient> {
  const { fs, env, program, runtimeKeys } = session.options
  const running = await runningClient(fs, session.layout)
  if (running !== undefined)
    throw new LauncherError('LA_LOCKED', `Cannot start: the client runs already (process ${running})`, {
      details: { pid: running },
    })
  const state = await heal(session, installed, before, options)
  session.enter('key-load')
  const files = wantedFiles(installed.manifest, session.options)
  const plain = commandFor({
    layout: session.layout,
    files,
    program,
    released: installed.manifest.program?.[session.options.target],
    env,
    platform: process.platform,
  })
  refuseThroughWine(plain, session.options.delivery)
  const command = {
    ...plain,
    args: [...(plain.args ?? []), ...(options.args ?? [])],
    ...(options.stdio === undefined ? {} : { stdio: options.stdio }),
  }
  const key = await loadRuntimeKey(fs, session.layout, installed, {
    provider: runtimeKeys ?? (await keyServer(session, installed, options.asksNobody)),
    signal: options.signal,
  })
  const isFirst = !state.confirmed
  let child: ChildProcess
  try {
    options.signal?.throwIfAborted()
    if (!state.confirmed) {
      const counted = { ...state, failedStarts: state.failedStarts + 1 }
      await whereDiskTakes(() => writeState(fs, session.layout, counted))
    }
    session.enter('launch')
    child = await startChild(session, command, key)
  } catch (error) {
    if (isFirst && options.signal?.aborted !== true && error instanceof KeyturnError)
      session.reports.report(reported(installed), 'start-failed', error.code)
    throw withoutWine(error, command) ?? error
  } finally {
    key?.dispose()
  }
  const pid = child.pid ?? -1
  await whereDiskTakes(() => rememberClient(fs, session.layout, pid))
  session.emit({ type: 'child', event: 'started', pid })
  session.enter('confirm')
  const watched = watch(session, child, pid, installed)
  if (isFirst) reportStart(session, installed, watched)
  return { child, pid, ...watched }
}

const reported = ({ ref, manifestSha256 }: InstalledRelease): ReportedRelease => ({
  version: ref.version,
  manifestSha256,
})

/** Reports what becomes of the first starts of a release: it lives, it is played, or it does not live. */
function reportStart(
  session: Session,
  installed: InstalledRelease,
  { exited, confirmed }: Pick<StartedClient, 'exited' | 'confirmed'>,
): void {
  const release = reported(installed)
  const timer = setTimeout(() => session.reports.report(release, 'played'), session.options.playedAfterMs)
  timer.unref()
  void exited.finally(() => clearTimeout(timer)).catch(() => undefined)
  void confirmed
    .then((isGood) =>
      isGood
        ? session.reports.report(release, 'confirmed')
        : session.reports.report(release, 'start-failed', 'LA_RELEASE_FAILED'),
    )
    .catch(() => undefined)
}

/** The start of a Windows client that failed for want of wine says so. */
function withoutWine(error: unknown, { file, args }: ChildCommand): LauncherError | undefined {
  if (hostSystem.runsExe || !/\.exe$/i.test(args?.[0] ?? '') || !(error instanceof KeyturnError)) return undefined
  if (!/\bENOENT\b/.test(error.message)) return undefined
  return new LauncherError('LA_CHILD', `Cannot start the Windows client: "${file}" is not installed`, {
    details: { program: file },
    hint: 'Install wine with the package manager of your system, or set KEYTURN_WINE to its path',
    cause: error,
  })
}

/**
 * Wine hands neither descriptors nor the memory of this system to a Windows program: it would start without its key.
 */
function refuseThroughWine({ args }: ChildCommand, delivery: string): void {
  if (hostSystem.runsExe || delivery === 'env' || !/\.exe$/i.test(args?.[0] ?? '')) return
  throw new LauncherError(
    'LA_SETTINGS',
    `Cannot start: a Windows client in wine can get its key by "env" alone, not by "${delivery}"`,
    { hint: 'Give --delivery env' },
  )
}

/** Replaces the network where nobody is to be asked: the sealed copy of the key is used. */
const askNobody: Fetch = () => Promise.reject(new TypeError('the start is offline'))

/** The key server of this install: the identities that the newest role document names under `transport`. */
async function keyServer(
  session: Session,
  installed: InstalledRelease,
  asksNobody: boolean,
): Promise<NoiseRuntimeKeys | undefined> {
  const { fs, clock, server, env, runtimeKeyCache } = session.options
  const transport = installed.newestRoles?.transport ?? []
  if (transport.length === 0) return undefined
  const cache = new SealedKeyCache(fs, session.layout.runtimeKeyCache, SealedKeyCache.keyFile(env))
  if (runtimeKeyCache === false) await cache.drop()
  return new NoiseRuntimeKeys({
    fs,
    fetch: asksNobody ? askNobody : session.options.fetch,
    clock,
    server,
    transport,
    floorsFile: session.layout.transportFloors,
    device: new DeviceKey(fs, DeviceKey.file(env)),
    cache: runtimeKeyCache === false ? undefined : cache,
  })
}

/** C12: alive long enough, or ended well. */
function watch(
  session: Session,
  child: ChildProcess,
  pid: number,
  installed: InstalledRelease,
): Pick<StartedClient, 'exited' | 'confirmed' | 'leave'> {
  let isOpen = true
  const exited = new Promise<number | null>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve(child.exitCode)
    else child.once('exit', (code) => resolve(code))
  })
  const reported = exited.then(async (exitCode) => {
    await forgetClient(session.options.fs, session.layout).catch(() => undefined) // it says which process, and that ended
    session.emit({ type: 'child', event: 'exited', pid, exitCode })
    return exitCode
  })
  const livesLong = new Promise<true>((resolve) => {
    const timer = setTimeout(() => resolve(true), session.options.confirmAfterMs)
    timer.unref()
    void exited.then(() => clearTimeout(timer))
  })
  const confirmed = Promise.race([livesLong, exited.then((code) => code === 0)]).then(async (isGood) => {
    isOpen = false
    // Not beside an update or a rollback: it writes the same state, and lives on the files that are let go here.
    if (isGood) await session.aside(() => confirm(session, installed, pid))
    return isGood
  })
  confirmed.catch(() => undefined) // a start that cannot be written down is counted as failed next time
  reported.catch(() => undefined)
  const leave = async (): Promise<void> => {
    if (isOpen) await session.aside(() => uncount(session, installed))
    isOpen = false
  }
  return { exited: reported, confirmed, leave }
}

async function uncount({ options: { fs }, layout }: Session, { manifestSha256 }: InstalledRelease): Promise<void> {
  const { state } = await readState(fs, layout)
  if (state.installed?.manifestSha256 !== manifestSha256 || state.confirmed || state.failedStarts === 0) return
  await writeState(fs, layout, { ...state, failedStarts: state.failedStarts - 1 })
}

async function confirm(session: Session, installed: InstalledRelease, pid: number): Promise<void> {
  const { fs } = session.options
  const { state } = await readState(fs, session.layout)
  if (state.installed?.manifestSha256 !== installed.manifestSha256) return // something else was installed meanwhile
  await writeState(fs, session.layout, { ...state, confirmed: true, failedStarts: 0, previous: undefined })
  if (state.previous !== undefined)
    await fs.rm(`${session.layout.backup}/${state.previous.transaction}`, { recursive: true, force: true })
  session.emit({ type: 'child', event: 'confirmed', pid })
}
