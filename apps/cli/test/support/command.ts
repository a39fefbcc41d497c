import { run } from '../../src/program.ts'
import type { World } from './world.ts'

/** What a command answered. */
export interface Answer {
  readonly code: number
  readonly ok: boolean
  readonly data: Record<string, unknown>
  readonly error: { code: string; message: string; hint?: string }
}

/** How a command is run. */
export interface CommandOptions {
  /** The home; default: that of the world. */
  readonly home?: string
  readonly nowMs?: number
  /** Gets what people read. */
  readonly onStderr?: (text: string) => void
  /** Ends the command; default: that of the world. */
  readonly signal?: AbortSignal
}

/** Runs a command in this process, as JSON, with the world's passphrase and every confirmation given. */
export async function command(world: World, args: readonly string[], options: CommandOptions = {}): Promise<Answer> {
  let stdout = ''
  const { home = world.path('home'), nowMs } = options
  const code = await run(['--json', '--home', home, '--passphrase-file', world.path('passphrase'), '--yes', ...args], {
    stdout: {
      write: (text) => {
        stdout += text
      },
    },
    stderr: { write: (text) => options.onStderr?.(text) },
    env: {},
    signal: options.signal ?? world.signal,
    ...(nowMs === undefined ? {} : { clock: () => nowMs }),
  })
  return { code, ...(JSON.parse(stdout) as Omit<Answer, 'code'>) }
}
