import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { defineRotateTransport } from '../noise/rotate.ts'

/** Registers `keyturn rotate transport`: `keyturn noise rotate` under the name it has among the others. */
export function registerRotateTransport(rotate: Command, cli: Cli): void {
  defineRotateTransport(rotate.command('transport'), 'keyturn rotate transport', cli)
}
