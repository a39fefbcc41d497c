import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { ChildCommand, DeliveredChild } from '../../src/node/index.ts'

/** What the client says of itself. */
export interface ClientAnswer {
  ok: boolean
  code?: string
  keyId: number
  keySha256: string
  verifier?: string
  environ: string[]
  variables: string[]
  before: string[]
  after: string[]
  grandchild: string
  limits: string
  filter: string
}

/** Path of a program of this folder. */
export function program(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}

/** A command that runs the client under this Node. */
export function clientCommand(extra: Partial<ChildCommand> = {}): ChildCommand {
  return { file: process.execPath, args: [program('client.ts')], stdio: ['pipe', 'pipe', 'pipe'], ...extra }
}

/** The client's line; the client then waits until {@link endClient}. */
export async function answerOf({ child }: DeliveredChild): Promise<ClientAnswer> {
  let text = ''
  let trouble = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    trouble += chunk.toString()
  })
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    text += chunk.toString()
    if (text.includes('\n')) break
  }
  if (!text.includes('\n')) throw new Error(`The client said nothing: ${trouble}`)
  return JSON.parse(text) as ClientAnswer
}

/** Lets the client end and waits for it. */
export async function endClient({ child }: DeliveredChild): Promise<void> {
  const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
  child.stdin?.end()
  await ended
}
