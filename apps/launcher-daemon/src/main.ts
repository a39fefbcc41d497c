#!/usr/bin/env node
import './bounded-memory.ts' // first: it counts from here on
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { exitCodes } from '@keyturn/primitives'
import { LauncherProgram } from './program/program.ts'

const stop = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => stop.abort(Object.assign(new Error(`Stopped by ${signal}`), { name: 'AbortError' })))
}
let isOutputLost = false
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE' || isOutputLost) return // the reader is gone; the work goes on without them
  isOutputLost = true
  process.stderr.write(`error: Cannot write the output: ${error.code ?? error.message}\n`)
  process.exitCode = exitCodes.io
})
process.stderr.on('error', () => undefined) // nobody is left to be notified
const program = new LauncherProgram({
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  signal: stop.signal,
  programFolder: dirname(fileURLToPath(import.meta.url)),
})
const exitCode = await program.run(process.argv.slice(2))
if (!isOutputLost) process.exitCode = exitCode
