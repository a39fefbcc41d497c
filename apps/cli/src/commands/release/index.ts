import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { registerCosign } from './cosign.ts'
import { registerDiff } from './diff.ts'
import { registerDiscard } from './discard.ts'
import { registerExportStatic } from './export.ts'
import { registerGarbage } from './gc.ts'
import { registerDropHead } from './drop-head.ts'
import { registerList } from './list.ts'
import { registerShow } from './show.ts'
import { registerOffer } from './offer.ts'
import { registerPrepare } from './prepare.ts'
import { registerPromote } from './promote.ts'
import { registerRollback } from './rollback.ts'
import { registerPublish } from './publish.ts'
import { registerRenew } from './renew.ts'
import { registerSchedule } from './schedule.ts'
import { registerHalt } from './halt.ts'
import { registerKill } from './kill.ts'
import { registerMonitor } from './monitor.ts'
import { registerRollout } from './rollout.ts'
import { registerSign } from './sign.ts'
import { registerTrust } from './trust.ts'
import { registerVerifyPublic } from './verify-public.ts'
import { registerVerify } from './verify.ts'

/** Registers `keyturn release`. */
export function registerRelease(program: Command, cli: Cli): void {
  const release = program
    .command('release')
    .description('prepare, sign, offer, publish and compare releases, step by step')
  registerPrepare(release, cli)
  registerSign(release, cli)
  registerCosign(release, cli)
  registerDiscard(release, cli)
  registerOffer(release, cli)
  registerPublish(release, cli)
  registerRenew(release, cli)
  registerList(release, cli)
  registerShow(release, cli)
  registerDiff(release, cli)
  registerPromote(release, cli)
  registerRollback(release, cli)
  registerRollout(release, cli)
  registerHalt(release, cli)
  registerSchedule(release, cli)
  registerKill(release, cli)
  registerMonitor(release, cli)
  registerDropHead(release, cli)
  registerVerify(release, cli)
  registerVerifyPublic(release, cli)
  registerExportStatic(release, cli)
  registerGarbage(release, cli)
  registerTrust(release, cli)
}
