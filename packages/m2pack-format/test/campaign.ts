// The long run: `pnpm campaign`. KEYTURN_FUZZ_SEED, KEYTURN_FUZZ_PARSER and KEYTURN_FUZZ_OPEN say where it starts and
// how long it is.
import { fuzzOpen, fuzzParser, randomOf } from './support/mutate.ts'

const seed = Number(process.env['KEYTURN_FUZZ_SEED'] ?? 20_260_101)
const parserRuns = Number(process.env['KEYTURN_FUZZ_PARSER'] ?? 2_000_000)
const openRuns = Number(process.env['KEYTURN_FUZZ_OPEN'] ?? 200_000)

function report(target: string, runs: number, accepted: number, start: number): void {
  const seconds = (performance.now() - start) / 1000
  console.log(
    `${target}: seed ${seed}, ${runs.toLocaleString('en')} executions, ${accepted.toLocaleString('en')} accepted, 0 ` +
      `untyped errors, ${seconds.toFixed(0)} s`,
  )
}

let start = performance.now()
let accepted = 0
for (let run = 0; run < parserRuns; run++) {
  try {
    if (fuzzParser(randomOf(seed + run))) accepted++
  } catch (error) {
    throw new Error(`Parser run ${run} of seed ${seed} failed`, { cause: error })
  }
}
report('parser', parserRuns, accepted, start)

start = performance.now()
accepted = 0
for (let run = 0; run < openRuns; run++) {
  try {
    if (await fuzzOpen(randomOf(seed + run))) accepted++
  } catch (error) {
    throw new Error(`Open run ${run} of seed ${seed} failed`, { cause: error })
  }
}
report('open and read', openRuns, accepted, start)
