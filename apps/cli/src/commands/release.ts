import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import { registerDiff } from './release-diff.ts'
import { registerHead } from './release-head.ts'
import { registerList, registerShow } from './release-list.ts'
import { registerPrepare } from './release-prepare.ts'
import { registerPublish } from './release-publish.ts'
import { registerSign } from './release-sign.ts'
import { registerTrust } from './release-trust.ts'

/** Registers `keyturn release`. */
export function registerRelease(program: Command, cli: Cli): void {
  const release = program.command('release').description('release tree → manifest → signature → head → server')
  registerPrepare(release, cli)
  registerSign(release, cli)
  registerHead(release, cli)
  registerPublish(release, cli)
  registerList(release, cli)
  registerShow(release, cli)
  registerDiff(release, cli)
  registerTrust(release, cli)
}
