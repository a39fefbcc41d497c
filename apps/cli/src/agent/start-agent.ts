import { spawn } from 'node:child_process'
import { rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { printable } from '@keyturn/primitives'
import { CliError } from '../errors.ts'
import { askAgent } from './ask-agent.ts'
import { parseLine } from './protocol.ts'
import type { AgentStart } from './protocol.ts'
import { agentAddress, makeRuntimeFolder } from './runtime-folder.ts'
import type { AgentPlace } from './runtime-folder.ts'

/** How long a process may take to start. */
const START_MS = 15_000

/**
 * Starts the agent of a home; one that is there is locked first.
 *
 * @param passphrase - Not modified; goes to the process through a pipe.
 * @returns When it locks by itself, milliseconds since the epoch.
 * @throws {@link CliError} `CLI_AGENT`.
 */
export async function startAgent(place: AgentPlace, passphrase: Uint8Array, forMs: number): Promise<number> {
  const address = agentAddress(place)
  if (process.platform !== 'win32') makeRuntimeFolder(dirname(address))
  await askAgent(place, 'lock')
  // Left by a process that was killed: nobody listens there.
  if (process.platform !== 'win32') rmSync(address, { force: true })
  const start: AgentStart = { address, passphrase: Buffer.from(passphrase).toString('base64'), forMs }
  const line = await firstLine(JSON.stringify(start))
  const { untilMs, problem } = parseLine(line) ?? {}
  if (typeof untilMs === 'number') return untilMs
  throw new CliError('CLI_AGENT', `The agent did not start: ${printable(String(problem ?? 'it ended at once'), 200)}`)
}

/** The main file of the agent beside this one: compiled, or as source. */
function program(): string {
  return fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url))
}

function firstLine(input: string): Promise<string> {
  const { SystemRoot } = process.env
  const child = spawn(process.execPath, [program()], {
    detached: true,
    windowsHide: true,
    stdio: ['pipe', 'pipe', 'ignore'],
    cwd: dirname(process.execPath),
    // Nothing of the environment is its business, secrets least of all.
    env: { NODE_NO_WARNINGS: '1', SystemRoot },
  })
  return new Promise((resolve, reject) => {
    const failed = (cause?: unknown): void => {
      child.kill()
      reject(new CliError('CLI_AGENT', 'The process of the agent did not start', { cause }))
    }
    const timer = setTimeout(failed, START_MS)
    let text = ''
    child.once('error', failed)
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      if (!text.includes('\n')) return
      clearTimeout(timer)
      child.stdout.destroy()
      child.unref()
      resolve(text)
    })
    child.once('exit', () => {
      clearTimeout(timer)
      resolve(text)
    })
    child.stdin.on('error', () => undefined)
    child.stdin.end(input)
  })
}
