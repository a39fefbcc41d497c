// Preloaded into the real program by tests: its timers and its monotonic clock run `KEYTURN_TEST_SPEED` times as fast.
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers/promises'

const speed = Number(process.env['KEYTURN_TEST_SPEED'] ?? '10')
const { setTimeout: start, performance } = globalThis
const now = performance.now.bind(performance)
performance.now = () => now() * speed
globalThis.setTimeout = Object.assign(
  (work: () => void, ms = 0, ...rest: []) => start(work, ms / speed, ...rest),
  start,
)
const sleep = timers.setTimeout
timers.setTimeout = (async (ms: number, ...rest: []) => await sleep(ms / speed, ...rest)) as typeof sleep
syncBuiltinESMExports()
