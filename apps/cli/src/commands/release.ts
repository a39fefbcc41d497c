import type { Command } from 'commander'
import type { Cli } from '../command.ts'
import { registerDiff } from './release-diff.ts'
import { registerExportStatic } from './release-export.ts'
import { registerGarbage } from './release-gc.ts'
import { registerHead } from './release-head.ts'
import { registerList, registerShow } from './release-list.ts'
import { registerPrepare } from './release-prepare.ts'
import { registerPromote, registerRollback } from './release-promote.ts'
import { registerPublish } from './release-publish.ts'
import { registerHalt, registerRollout } from './release-rollout.ts'
import { registerSign } from './release-sign.ts'
import { registerTrust } from './release-trust.ts'
import { registerVerifyPublic } from './release-verify-public.ts'
import { registerVerify } from './release-verify.ts'

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
  registerPromote(release, cli)
  registerRollback(release, cli)
  registerRollout(release, cli)
  registerHalt(release, cli)
  registerVerify(release, cli)
  registerVerifyPublic(release, cli)
  registerExportStatic(release, cli)
  registerGarbage(release, cli)
  registerTrust(release, cli)
}
