import { appendFileSync } from 'node:fs'

// Loaded into the server by --import. Writes, every quarter of a second, how much of its processor the main thread used
// in the busiest stretch without a turn of the event loop. What other processes use up meanwhile does not count.

const file = process.env['KEYTURN_LOOP_FILE']
const TURN_MS = 2
const REPORT_MS = 250

function usedMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

if (file !== undefined) {
  let last = usedMs()
  let most = 0
  let reported = Date.now()
  setInterval(() => {
    const now = usedMs()
    most = Math.max(most, now - last)
    last = now
    if (Date.now() - reported < REPORT_MS) return
    appendFileSync(file, `${Date.now()} ${most.toFixed(1)} ${now.toFixed(0)}\n`)
    reported = Date.now()
    most = 0
  }, TURN_MS).unref()
}
