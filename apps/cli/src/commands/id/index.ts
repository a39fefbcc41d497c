import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerIdCheck } from './check.ts'
import { registerIdExport } from './export.ts'
import { registerIdImport } from './import.ts'
import { registerIdInit } from './init.ts'
import { registerIdRotate } from './rotate.ts'
import { registerIdLog } from './log.ts'
import { registerIdShow } from './show.ts'
import { registerIdWitness } from './witness.ts'

/** Registers `keyturn id …`: the key event log. */
export function registerId(program: Command, cli: Cli): void {
  const id = program.command('id').description('create, show, check and rotate identities and their key event logs')
  registerIdInit(id, cli)
  registerIdShow(id, cli)
  registerIdLog(id, cli)
  registerIdCheck(id, cli)
  registerIdRotate(id, cli)
  registerIdExport(id, cli)
  registerIdImport(id, cli)
  registerIdWitness(id, cli)
}
