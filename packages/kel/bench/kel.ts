// Verifying a log against bare Ed25519 verification of the same signatures, in the same run.
import { concatBytes, ed25519PublicKey, ed25519Verify } from '@keyturn/primitives'
import { checkStream, Kel, KelError, memoryStore, verifyLog, verifyLogStream } from '@keyturn/kel'
import { incept, interact, rotate, seedSigner } from '@keyturn/kel/owner'
import type { SignedEvent } from '@keyturn/kel/owner'
import { MAX_LOG_SIGNATURES } from '../src/limits.ts'

const eventCount = Number(process.argv[2] ?? 20_000)
const seed = (n: number): Uint8Array => {
  const bytes = new Uint8Array(32)
  new DataView(bytes.buffer).setUint32(28, n + 1)
  return bytes
}
const keyOf = (n: number): Uint8Array => ed25519PublicKey(seed(n))

let generation = 0
let event: SignedEvent = await incept({ keys: [keyOf(0)], nextKeys: [keyOf(1)] }, seedSigner([seed(0)]))
const messages = [event.message]
const jobs: { key: Uint8Array; body: Uint8Array; signature: Uint8Array }[] = []
while (messages.length < eventCount) {
  if (messages.length % 20 === 0) {
    generation++
    event = await rotate(
      event.state,
      { keys: [keyOf(generation)], nextKeys: [keyOf(generation + 1)] },
      seedSigner([seed(generation)]),
    )
  } else event = await interact(event.state, [{ d: event.said }], seedSigner([seed(generation)]))
  messages.push(event.message)
  const text = new TextDecoder().decode(event.message.subarray(event.event.length + 6))
  const raw = new Uint8Array(Buffer.from(`AA${text}`, 'base64url').subarray(2))
  jobs.push({ key: keyOf(generation), body: event.event, signature: raw })
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const stream = concatBytes(...messages)
const chunks = Array.from({ length: Math.ceil(stream.length / 65_536) }, (_, at) =>
  stream.subarray(at * 65_536, (at + 1) * 65_536),
)

let best = 0
for (let run = 0; run < 4; run++) {
  let start = cpuMs()
  for (const { key, body, signature } of jobs)
    if (!ed25519Verify(key, body, signature)) throw new Error('bare verification failed')
  const bare = jobs.length / (cpuMs() - start)
  start = cpuMs()
  verifyLog(stream, { maxBytes: stream.length })
  const whole = messages.length / (cpuMs() - start)
  best = Math.max(best, whole / bare)
  console.log(
    `run ${run + 1}: bare ${(bare * 1000).toFixed(0)}/s, log ${(whole * 1000).toFixed(0)}/s of CPU, ratio ` +
      `${(whole / bare).toFixed(3)}`,
  )
}
/** The longest work that 4 MiB can ask for: events signed by 64 keys each, all of which have to sign. */
async function worstLog(): Promise<Uint8Array> {
  const keyCount = 64
  const seeds = Array.from({ length: keyCount }, (_, at) => seed(at))
  const last = {
    event: await incept(
      { keys: seeds.map(ed25519PublicKey), threshold: keyCount, nextKeys: [keyOf(999)] },
      seedSigner(seeds),
    ),
  }
  const log = [last.event.message]
  // A little below the limit, since the bodies count too.
  while (log.length < (MAX_LOG_SIGNATURES / keyCount) * 0.97) {
    last.event = await interact(last.event.state, [], seedSigner(seeds))
    log.push(last.event.message)
  }
  return concatBytes(...log)
}

function processorOf(work: () => unknown): number {
  const begun = cpuMs()
  work()
  return cpuMs() - begun
}

/** One signature an event, as many events as 16,384 signatures' work allows. */
async function longestLog(): Promise<Uint8Array> {
  const last = { event: await incept({ keys: [keyOf(0)], nextKeys: [keyOf(1)] }, seedSigner([seed(0)])) }
  const log = [last.event.message]
  while (log.length < 12_500) {
    last.event = await interact(last.event.state, [], seedSigner([seed(0)]))
    log.push(last.event.message)
  }
  return concatBytes(...log)
}

async function processorOfOpening(stream: Uint8Array, prefix: string): Promise<number> {
  const begun = cpuMs()
  await Kel.open({ ...memoryStore().log(prefix), read: async () => ({ stream, version: '1' }) }, prefix)
  return cpuMs() - begun
}

const longest = await longestLog()
const { prefix } = verifyLog(longest)
for (let run = 0; run < 3; run++)
  console.log(
    `log of ${longest.length} bytes, one signature an event: verifyLog ${processorOf(() => verifyLog(longest)).toFixed(0)}, ` +
      `checkStream ${processorOf(() => checkStream(longest)).toFixed(0)}, ` +
      `Kel.open ${(await processorOfOpening(longest, prefix)).toFixed(0)} ms of CPU (wanted 1000)`,
  )

const worst = await worstLog()
for (let run = 0; run < 3; run++)
  console.log(`worst log, checkStream: ${processorOf(() => checkStream(worst)).toFixed(0)} ms of CPU`)
const accepted = Math.min(...Array.from({ length: 3 }, () => processorOf(() => verifyLog(worst))))
const tooMany = concatBytes(...Array.from({ length: Math.floor((4 * 1024 * 1024) / worst.length) }, () => worst))
const refused = processorOf(() => {
  try {
    verifyLog(tooMany)
    throw new Error('the log was taken')
  } catch (error) {
    if (!(error instanceof KelError) || error.code !== 'KEL_LIMIT') throw error
  }
})
console.log(
  `worst log that is verified, ${worst.length} bytes: ${accepted.toFixed(0)} ms of CPU (wanted 1000); ` +
    `${tooMany.length} bytes of more signatures: refused in ${refused.toFixed(0)} ms`,
)
const start = cpuMs()
await verifyLogStream(chunks)
const streamed = messages.length / (cpuMs() - start)
console.log(`streamed in bounded memory: ${(streamed * 1000).toFixed(0)}/s of CPU`)
console.log(
  `kel: ${eventCount} events, ratio ${best.toFixed(3)} (wanted 0.8), peak memory ` +
    `${Math.round(process.resourceUsage().maxRSS / 1024)} MiB`,
)
