// What "status" and "doctor" print with --json is promised: the schemas travel with the program.
import { cpSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const from = fileURLToPath(new URL('../../../docs/spec/schemas', import.meta.url))
cpSync(from, fileURLToPath(new URL('../dist/schemas', import.meta.url)), { recursive: true })
