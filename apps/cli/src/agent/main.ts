// The process of an agent: it is started by "keyturn unlock" with what it holds on its standard input, says until when
// it answers or what went wrong, and lives until it locks.

import { constants } from 'node:os'
import { suppressCoreDumps } from '@keyturn/runtime-key/node'
import { serveAgent } from './serve-agent.ts'
import type { AgentStart } from './protocol.ts'

async function readStart(): Promise<AgentStart> {
  const chunks: Uint8Array[] = []
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array)
  return JSON.parse(Buffer.concat(chunks).toString()) as AgentStart
}

process.title = 'keyturn-agent'
const controller = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => controller.abort())
try {
  const start = await readStart()
  await suppressCoreDumps().catch(() => undefined)
  const agent = await serveAgent({
    address: start.address,
    passphrase: new Uint8Array(Buffer.from(start.passphrase, 'base64')),
    forMs: start.forMs,
    signal: controller.signal,
    clock: () => Date.now(),
    monotonic: () => performance.now(),
    every: (tick, ms) => {
      const timer = setInterval(tick, ms)
      return () => clearInterval(timer)
    },
  })
  process.stdout.write(`${JSON.stringify({ version: 1, untilMs: agent.untilMs })}\n`)
  await agent.ended
  process.exit(0)
} catch (error) {
  process.stdout.write(`${JSON.stringify({ version: 1, problem: (error as Error).message })}\n`)
  process.exit(constants.signals.SIGTERM)
}
