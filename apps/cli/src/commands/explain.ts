import type { ErrorExplanation } from '@keyturn/primitives'
import type { Command } from 'commander'
import { allCatalogues, catalogueOf } from '../catalogues.ts'
import type { Cli, CommandResult } from '../command.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '@keyturn/primitives'
import { formatTable } from '../output.ts'

/** Registers `keyturn explain [code]`. */
export function registerExplain(program: Command, cli: Cli): void {
  const explain = program
    .command('explain')
    .description('say what an error code means and what to do; without a code, list them all')
    .argument('[code]', 'M2P_SIGNATURE, for instance')
  cli.define(explain, {
    example: 'keyturn explain M2P_SIGNATURE',
    run: async (_context, _options, [code]) => (code === undefined ? await listAll() : await explainOne(code)),
  })
}

async function listAll(): Promise<CommandResult> {
  const rows: string[][] = []
  const codes: Record<string, { package: string; kind: string; exit: number; meaning: string }> = {}
  for (const { packageName, catalogue } of await allCatalogues()) {
    for (const [code, { kind, meaning }] of Object.entries(catalogue)) {
      rows.push([code, String(exitCodes[kind]), meaning])
      codes[code] = { package: packageName, kind, exit: exitCodes[kind], meaning }
    }
  }
  return { data: { codes }, text: formatTable(rows) }
}

async function explainOne(asked: string): Promise<CommandResult> {
  const code = asked.toUpperCase()
  const known = await catalogueOf(code)
  if (known !== undefined && Object.hasOwn(known.catalogue, code)) {
    const { kind, meaning, remedy } = known.catalogue[code] as ErrorExplanation
    const exit = exitCodes[kind]
    return {
      data: { code, package: known.packageName, kind, exit, meaning, remedy },
      text: `${code} (${known.packageName}; ${kind}, exit code ${exit})\n\n${meaning}\n${remedy}`,
    }
  }
  throw new CliError('CLI_CODE_UNKNOWN', `No error is named "${asked}"`, { hint: '"keyturn explain" lists them all' })
}
