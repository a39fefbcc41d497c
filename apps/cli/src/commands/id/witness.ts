import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerIdWitnessAdd } from './witness-add.ts'
import { registerIdWitnessList } from './witness-list.ts'
import { registerIdWitnessCollect } from './witness-collect.ts'

/** Registers `keyturn id witness …`. */
export function registerIdWitness(id: Command, cli: Cli): void {
  const witness = id.command('witness').description('add, list and ask the witnesses of an identity')
  registerIdWitnessAdd(witness, cli)
  registerIdWitnessList(witness, cli)
  registerIdWitnessCollect(witness, cli)
}
