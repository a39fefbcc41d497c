#!/usr/bin/env node
import './bounded-memory.ts' // first: it counts from here on
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LauncherProgram } from './program/program.ts'

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => stop.abort(Object.assign(new Error(`Stopped by ${signal}`), { name: 'AbortError' })))
}
for (const stream of [process.stdout, process.stderr]) {
  // Whoever read the output is gone; the work goes on without him.
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
  })
}
const program = new LauncherProgram({
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: stop.signal,
  programFolder: dirname(fileURLToPath(import.meta.url)),
})
process.exitCode = await program.run(process.argv.slice(2))
