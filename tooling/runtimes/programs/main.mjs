// What Node, Bun and Deno start: names of programs are its arguments.
import { runPrograms } from './harness.mjs'

const programs = process.argv.slice(2).map((name) => [name, () => import(`./${name}.mjs`)])
await runPrograms(programs, (line) => console.log(`OUTCOME ${JSON.stringify(line)}`))
process.exit(0)
