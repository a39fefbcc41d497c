import { describeCommandLine } from './command-tree.ts'
import type { CommandDescription } from './command-tree.ts'
import { registerAll } from './program.ts'

/** Loads every noun and describes the whole command line of `keyturn`, from outside of it. */
export async function describeCommands(): Promise<CommandDescription> {
  return await describeCommandLine({ register: registerAll })
}
