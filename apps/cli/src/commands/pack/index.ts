import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerPackTree } from './tree.ts'
import { registerBuild } from './build.ts'
import { registerDiff } from './diff.ts'
import { registerExportClientConfig } from './export-client-config.ts'
import { registerExportRuntimeKey } from './export-runtime-key.ts'
import { registerExtract } from './extract.ts'
import { registerImport } from './import.ts'
import { registerInspect } from './inspect.ts'
import { registerKeygen } from './keygen.ts'
import { registerList } from './list.ts'
import { registerRewrap } from './rewrap.ts'
import { registerVerify } from './verify.ts'

/** Registers the verbs of archives below `parent`: `keyturn pack …`, and the `m2pack` program itself. */
export function registerPackVerbs(parent: Command, cli: Cli): void {
  registerKeygen(parent, cli)
  registerBuild(parent, cli)
  registerRewrap(parent, cli)
  registerList(parent, cli)
  registerVerify(parent, cli)
  registerDiff(parent, cli)
  registerExtract(parent, cli)
  registerInspect(parent, cli)
  registerImport(parent, cli)
  registerExportClientConfig(parent, cli)
  registerExportRuntimeKey(parent, cli)
}

/** Registers `keyturn pack`. */
export function registerPack(program: Command, cli: Cli): void {
  const pack = program.command('pack').description('build, verify, list, extract and rewrap .m2p archives')
  registerPackVerbs(pack, cli)
  registerPackTree(pack, cli)
}
