import { CommanderError } from 'commander'
import type { Command } from 'commander'
import { exitCodes, KeyturnError, printable } from '@keyturn/primitives'
import { readConfig } from './config.ts'
import type { ServerConfig } from './config.ts'

/** Longest message that is printed, characters. */
const MAX_PRINTED = 2000

/** Runs a command; exists so that main has one place for what all commands share. */
export async function runCommand(work: () => Promise<unknown>): Promise<void> {
  await work()
}

/** Prints an error and returns its exit code. */
export function exitCodeOf(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  const known = error instanceof KeyturnError ? error : undefined
  const code = known?.code ?? 'SRV_INTERNAL'
  const message = error instanceof Error ? error.message : String(error)
  if (json)
    process.stdout.write(
      `${JSON.stringify({ ok: false, error: { code, kind: known?.kind ?? 'bug', message, ...(known?.hint === undefined ? {} : { hint: known.hint }) } })}\n`,
    )
  else {
    // Texts of settings, stores and other servers are in it: none of them speaks to the terminal.
    const hint = known?.hint === undefined ? '' : `  ${printable(known.hint, MAX_PRINTED)}\n`
    process.stderr.write(`${code}: ${printable(message, MAX_PRINTED)}\n${hint}`)
  }
  return exitCodes[known?.kind ?? 'bug']
}

/** Settings of a command: environment, file, `--data`. */
export async function configOf(command: Command): Promise<ServerConfig> {
  const { config, data } = command.optsWithGlobals<{ config?: string; data?: string }>()
  return readConfig({ ...process.env, ...(data === undefined ? {} : { KEYTURN_DATA_DIR: data }) }, config)
}

/** Prints an answer: as JSON with `--json`, else as text. */
export function printAnswer(command: Command, data: unknown, text: string): void {
  const { json } = command.optsWithGlobals<{ json?: boolean }>()
  process.stdout.write(json === true ? `${JSON.stringify({ ok: true, data })}\n` : `${text}\n`)
}
