import { spawn } from 'node:child_process'
import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { printable } from '@keyturn/primitives'
import { RuntimeKeyError } from '../errors.ts'
import type { RuntimeKey } from '../runtime-key.ts'

/** Environment variables that carry a runtime key, or say where it is. */
export const RUNTIME_KEY_VARIABLES = {
  masterKeyHex: 'M2PACK_MASTER_KEY_HEX',
  signPublicKeyHex: 'M2PACK_SIGN_PUBKEY_HEX',
  keyId: 'M2PACK_KEY_ID',
  mapping: 'M2PACK_KEY_MAP',
  fd: 'M2PACK_KEY_FD',
} as const

/** How long a child may take to fetch its key. */
export const DEFAULT_DELIVERY_TIMEOUT_MS = 10_000

/** The one child that gets the key. */
export interface ChildCommand {
  /** Executable; no shell is involved. */
  readonly file: string
  readonly args?: readonly string[]
  readonly cwd?: string
  /** Environment the child inherits, less every runtime key variable; `process.env` by default. Not modified. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** stdin, stdout and stderr; `inherit` by default. */
  readonly stdio?: readonly ('ignore' | 'inherit' | 'pipe' | number)[]
  readonly detached?: boolean
  readonly windowsHide?: boolean
}

/** A started child. */
export interface DeliveredChild {
  readonly child: ChildProcess
  /**
   * Settles when nothing of the key is left in the parent's hands: the child took it (fulfilled), or it did not and
   * everything was wiped (rejected with `RK_DELIVERY_TIMEOUT`, `RK_CHILD_GONE`, or an I/O error).
   */
  readonly received: Promise<void>
}

/** Says that the environment already had one of the names; the value is neither shown nor passed on. */
export interface InheritedVariableWarning {
  readonly name: string
}

/** What every delivery takes. */
export interface DeliveryOptions {
  /** Default {@link DEFAULT_DELIVERY_TIMEOUT_MS}. */
  readonly timeoutMs?: number | undefined
  /** Called for each runtime key variable found in the inherited environment. */
  readonly onInherited?: ((warning: InheritedVariableWarning) => void) | undefined
  /** `spawn` of node:child_process by default. */
  readonly spawn?: typeof spawn | undefined
}

/** Hands a runtime key to exactly one child process. The caller still owns the key and disposes of it. */
export interface RuntimeKeyDelivery {
  readonly name: 'env' | 'fd' | 'shared-memory'
  /**
   * Starts the child with the key.
   *
   * @throws {@link RuntimeKeyError} `RK_SPAWN`, `RK_SHM_OCCUPIED`, `RK_DELIVERY_UNSUPPORTED`; no child runs then and
   *   nothing of the key is left.
   */
  deliver(runtimeKey: RuntimeKey, command: ChildCommand): Promise<DeliveredChild>
}

const NAMES = new Set<string>(Object.values(RUNTIME_KEY_VARIABLES))

/**
 * The environment of a child without any runtime key variable, whatever its letter case (Windows ignores case).
 *
 * @returns A fresh object; the parent's environment is only read.
 */
export function cleanEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  onInherited?: DeliveryOptions['onInherited'],
): Record<string, string> {
  const clean: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) {
    if (NAMES.has(name.toUpperCase())) onInherited?.({ name })
    else if (value !== undefined) clean[name] = value
  }
  return clean
}

/**
 * Starts the child and waits until it runs.
 *
 * @param extraPipes - Pipes after stdin, stdout and stderr.
 * @throws {@link RuntimeKeyError} `RK_SPAWN` with the system's code in `details.reason`.
 */
export async function startChild(
  command: ChildCommand,
  env: Record<string, string>,
  options: DeliveryOptions,
  extraPipes = 0,
): Promise<ChildProcess> {
  const start = options.spawn ?? spawn
  const stdio: NonNullable<SpawnOptions['stdio']> = [...(command.stdio ?? ['inherit', 'inherit', 'inherit'])]
  while (stdio.length < 3) stdio.push('ignore')
  for (let pipe = 0; pipe < extraPipes; pipe += 1) stdio.push('pipe')
  const spawnOptions: SpawnOptions = {
    env,
    stdio,
    cwd: command.cwd,
    detached: command.detached,
    windowsHide: command.windowsHide ?? false,
    shell: false,
  }
  try {
    const child = start(command.file, [...(command.args ?? [])], spawnOptions)
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    return child
  } catch (error) {
    throw spawnError(command.file, error)
  }
}

/** Node hangs `spawnargs` on its error; only code and system call go on, so that no argument is logged by accident. */
function spawnError(file: string, error: unknown): RuntimeKeyError {
  const reason = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
  return new RuntimeKeyError('RK_SPAWN', `Cannot start the client "${printable(file, 200)}": ${reason}`, {
    details: { reason, file },
    ...(reason === 'ENOENT'
      ? { hint: 'Install that program, or name another one; a client for Windows needs wine' }
      : {}),
  })
}

/**
 * Runs `work` against the clock and the child's end.
 *
 * @param work - Resolves once the child took the key; gets a signal that fires when it is too late.
 */
export async function awaitReceipt(
  child: ChildProcess,
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const abort = new AbortController()
  const timer = setTimeout(() => {
    abort.abort(new RuntimeKeyError('RK_DELIVERY_TIMEOUT', `The client did not take its key within ${timeoutMs} ms`))
  }, timeoutMs)
  const onExit = (): void => abort.abort(childGone(child))
  if (child.exitCode !== null || child.signalCode !== null) onExit()
  else child.once('exit', onExit)
  try {
    await work(abort.signal)
  } finally {
    clearTimeout(timer)
    child.off('exit', onExit)
  }
}

function childGone(child: ChildProcess): RuntimeKeyError {
  const details = child.signalCode === null ? { exitCode: child.exitCode ?? -1 } : { signal: child.signalCode }
  return new RuntimeKeyError('RK_CHILD_GONE', 'The client ended before it took its key', { details })
}
