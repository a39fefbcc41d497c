import { spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MAIN, TEST_ENVIRONMENT } from './program.ts'
import type { World } from './world.ts'

/** How a script is run. */
export interface ScriptOptions {
  readonly env?: Readonly<Record<string, string>> | undefined
  /** The output shows each command. */
  readonly trace?: boolean | undefined
}

/** What a script printed and how it ended. */
export interface ScriptOutcome {
  readonly code: number | null
  readonly output: string
}

/** Puts `keyturn` on the PATH of scripts in a folder, as a program of its own, with flags that it always gets. */
export async function putKeyturn(folder: string, ...flags: readonly string[]): Promise<void> {
  await mkdir(join(folder, 'bin'), { recursive: true })
  const words = [process.execPath, MAIN].map((word) => `"${word}"`).concat(flags)
  await writeFile(join(folder, 'bin', 'keyturn'), `#!/bin/sh\nexec ${words.join(' ')} "$@"\n`, { mode: 0o755 })
}

/** Runs a script as someone at a shell would, in a folder: the first command that fails ends it. */
export async function runScript(
  folder: string,
  script: string,
  { env, trace = false }: ScriptOptions = {},
): Promise<ScriptOutcome> {
  const child = spawn('bash', ['-eo', 'pipefail', '-c', trace ? `set -x; ${script}` : script], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${join(folder, 'bin')}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
      HOME: folder,
      ...TEST_ENVIRONMENT,
      ...env,
    },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  return await new Promise((resolve) => {
    child.once('close', (code) => resolve({ code, output }))
  })
}

/** Runs a script in the folder of a world and with its home; the output shows each command. */
export async function shell(world: World, script: string): Promise<ScriptOutcome> {
  return await runScript(world.folder, script, {
    trace: true,
    env: {
      KEYTURN_HOME: world.path('home'),
      KEYTURN_PASSPHRASE_FILE: world.path('passphrase'),
      KEYTURN_TOKEN_FILE: world.path('token'),
    },
  })
}
