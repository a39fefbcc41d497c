import { Agent, get } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'

// Asks /healthz ten times a second and notes how long each answer takes. A thread of its own: what the callers of the
// campaign spend on their own bodies would otherwise count as the server's delay.

const { url } = workerData as { readonly url: string }
const PAUSE_MS = 100
const agent = new Agent({ keepAlive: true })
const waits: number[] = []
let isOver = false

const ask = (): Promise<void> =>
  new Promise((resolve, reject) => {
    get(`${url}/healthz`, { agent }, (answer) => {
      answer.resume()
      answer.once('end', resolve)
    }).once('error', reject)
  })

parentPort?.once('message', () => {
  isOver = true
})
while (!isOver) {
  const asked = performance.now()
  await ask()
  waits.push(performance.now() - asked)
  await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
}
agent.destroy()
parentPort?.postMessage(waits)
