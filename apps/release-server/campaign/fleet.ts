// What a million launchers of a client of 8 GB ask of the origin, by hour: a quiet day, a release, a rotation of the
// content key and a halt, with a CDN and without. FLEET_LAUNCHERS, FLEET_CLIENT_GB and FLEET_CACHES change it.
import { simulateFleet } from './fleet-model.ts'
import type { FleetHour, FleetOptions } from './fleet-model.ts'

const launchers = Number(process.env['FLEET_LAUNCHERS'] ?? 1_000_000)
const clientBytes = Number(process.env['FLEET_CLIENT_GB'] ?? 8) * 1e9
const caches = Number(process.env['FLEET_CACHES'] ?? 40)
let state = Number(process.env['SEED'] ?? 20261121)

/** Numbers that are the same in each run. */
function random(): number {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
}

/** Two fifths of the players are there in the evening, a tenth in the early morning. */
const ON = Array.from({ length: 24 }, (_, hour) => 0.25 + 0.15 * Math.sin(((hour - 14) / 24) * 2 * Math.PI))

/** Measured: docs/guides/cdn-and-cost.md, docs/benchmarks.md. */
const UPDATE_REQUESTS = 11
const RANGE_BYTES = 256 * 1024
const base: Omit<FleetOptions, 'downloadBytes'> = {
  launchers,
  on: ON,
  checksPerHour: 1,
  caches,
  documents: [
    { name: 'head.json', freshSeconds: 15, bytes: 1800 },
    { name: 'key event log', freshSeconds: 60, bytes: 4000 },
    { name: 'signatures', freshSeconds: 60, bytes: 1200 },
  ],
  updateRequests: UPDATE_REQUESTS,
  rangeBytes: RANGE_BYTES,
  random,
}
const days: readonly [string, Partial<FleetOptions>][] = [
  ['a quiet day', { downloadBytes: 0 }],
  ['a release of 3 % of the files at 18:00', { publishedAt: 18, downloadBytes: clientBytes * 0.05 }],
  ['a rotation of the content key at 18:00', { publishedAt: 18, downloadBytes: clientBytes * 0.0055 }],
  ['a halt at 18:00', { publishedAt: 18, downloadBytes: 0, updateRequests: 0 }],
]

function size(bytes: number): string {
  const [unit, name] = bytes >= 1e12 ? [1e12, 'TB'] : bytes >= 1e9 ? [1e9, 'GB'] : [1e6, 'MB']
  return `${(bytes / unit).toFixed(bytes / unit < 10 ? 2 : 0)} ${name}`
}

function row(with_: FleetHour, without: FleetHour): string {
  const cells = [
    `${String(with_.hour).padStart(2, '0')}:00`,
    Math.round(with_.requests).toLocaleString('en'),
    size(with_.bytes),
    with_.originRequests.toLocaleString('en'),
    size(with_.originBytes),
    size(without.originBytes),
    `${((with_.updated / launchers) * 100).toFixed(0)} %`,
  ]
  return `| ${cells.join(' | ')} |`
}

console.log(
  `${launchers.toLocaleString('en')} launchers, client of ${size(clientBytes)}, ${caches} caches ask the origin`,
)
for (const [name, change] of days) {
  const options = { ...base, downloadBytes: 0, ...change }
  const [cdn, direct] = [simulateFleet(options), simulateFleet({ ...options, caches: 0 })]
  console.log(`\n${name}\n| hour | requests | bytes | at the origin | bytes | bytes without CDN | have it |`)
  console.log('|---|---|---|---|---|---|---|')
  const shown = options.publishedAt === undefined ? [4, 20] : [17, 18, 19, 20, 23]
  for (const hour of shown) console.log(row(cdn[hour] as FleetHour, direct[hour] as FleetHour))
  const busiest = (hours: readonly FleetHour[]): number => Math.max(...hours.map(({ bytes }) => bytes))
  console.log(`busiest hour: ${((busiest(cdn) * 8) / 3600 / 1e9).toFixed(1)} Gbit/s at the CDN`)
}
