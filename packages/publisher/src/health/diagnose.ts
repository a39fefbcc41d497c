import { stat } from 'node:fs/promises'
import { limits, parseHeadEnvelope, verifyManifestSignatures, verifyThreshold } from '@keyturn/manifest'
import { payloadTypes } from '@keyturn/manifest/publish'
import { keyCommitment } from '@keyturn/m2pack-format'
import { hexEncode, KeyturnError, z32Encode } from '@keyturn/primitives'
import { pathExists, systemErrorCode } from '@keyturn/primitives/node'
import type { ReleaseServerClient } from '@keyturn/release-client'
import { isStoredInside, pathInside } from '../inside.ts'
import { readFreeze } from '../freeze.ts'
import { activeContentKey, keyAlias } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { readStoredHead } from '../records/heads.ts'
import { readIdentityLog, rolesInForce } from '../records/store.ts'
import { finishingCommand } from '../rotation/pending.ts'
import { counted } from '../words.ts'
import { checkServerHeads, withServerHeads } from './check-heads.ts'
import { checkArchives, offeredReleases } from './check-archives.ts'
import { checkLocks } from './check-locks.ts'
import { checkModes } from './check-modes.ts'
import {
  checkBackups,
  checkKills,
  checkNamedIdentities,
  checkPendingRotations,
  checkTransportKeys,
  checkVaults,
} from './check-rest.ts'
import type { RestFinding } from './check-rest.ts'
import { checkSchedules } from './check-schedules.ts'
import { collectStatus } from './collect-status.ts'

/** One thing that was looked at. */
export interface Finding {
  /** Stable name of the check. */
  readonly check: string
  readonly level: 'ok' | 'warning' | 'error'
  readonly message: string
  /** The command that fixes it; empty when nothing is wrong. */
  readonly mend: string
}

/** How a diagnosis is made. */
export interface DiagnoseOptions {
  readonly nowMs: number
  /** Read every byte of every archive of the releases on offer. */
  readonly deep: boolean
  /** The server, when one is known. */
  readonly client: ReleaseServerClient | undefined
  readonly signal: AbortSignal
}

type Report = (check: string, level: Finding['level'], message: string, mend?: string) => void

/** What a home for CI does not have. */
const NOT_FOR_CI = new Set(['next-key', 'identities', 'vault', 'transport', 'backup'])

/** More than this between this clock and the newest signed document: one of them is wrong. */
const CLOCK_SLACK_MS = 10 * 60_000

/**
 * Proves that a home is sound: every secret against its public half, log and role document against each other, releases
 * against signatures, archives against keys, the server against the home.
 *
 * @param home - Open home; asks for the passphrase.
 * @param options - How far it goes.
 */
export async function diagnose(home: HomeSession, options: DiagnoseOptions): Promise<Finding[]> {
  const findings: Finding[] = []
  const report: Report = (check, level, message, mend = '') => void findings.push({ check, level, message, mend })
  const all: [string, string, () => Promise<void>][] = [
    ['permissions', `chmod 700 ${home.paths.folder}`, () => checkPermissions(home, report)],
    ['modes', `chmod -R u+rw ${home.paths.folder}`, () => reportAll('modes', checkModes(home), report)],
    ['locks', 'keyturn doctor', () => reportLocks(home, report)],
    ['log', 'keyturn restore', () => checkLog(home, report)],
    ['keystore', 'keyturn restore', () => checkKeystore(home, report)],
    ['next-key', 'keyturn restore', () => checkNextKey(home, report)],
    ['identities', 'keyturn restore', () => reportAll('identities', checkNamedIdentities(home), report)],
    ['rotations', 'keyturn status', () => reportAll('rotations', checkPendingRotations(home), report)],
    ['vault', 'keyturn restore', () => reportAll('vault', checkVaults(home), report)],
    ['transport', 'keyturn restore', () => reportAll('transport', checkTransportKeys(home), report)],
    ['backup', 'keyturn backup FILE', () => reportAll('backup', checkBackups(home, options.nowMs), report)],
    ['freeze', 'keyturn emergency unfreeze', () => checkFreeze(home, options, report)],
    ['kills', 'keyturn restore', () => reportAll('kills', checkKills(home), report)],
    ['due', 'keyturn status', () => checkDue(home, options, report)],
    ['clock', 'set the clock of this machine', () => checkClock(home, options, report)],
    ['releases', 'keyturn release sign', () => checkReleases(home, report)],
    ['schedules', 'keyturn restore', () => reportAll('schedules', checkSchedules(home, options), report)],
    ['archives', 'keyturn pack tree', () => checkArchives(home, options, report)],
    ['server', 'keyturn release publish', () => checkServer(home, options, report)],
  ]
  const isForCi = home.description.bundle !== undefined
  for (const [check, mend, run] of all) {
    if (isForCi && NOT_FOR_CI.has(check)) continue
    options.signal.throwIfAborted()
    try {
      await run()
    } catch (error) {
      const system = error instanceof KeyturnError ? undefined : errnoOf(error)
      if (error instanceof KeyturnError && error.kind !== 'bug')
        report(check, 'error', `${error.message} (${error.code})`, mendOf(error) ?? mend)
      else if (system !== undefined && error instanceof Error) report(check, 'error', error.message, mend)
      else throw error
    }
  }
  return findings
}

async function reportAll(check: string, found: Promise<readonly RestFinding[]>, report: Report): Promise<void> {
  for (const { level, message, fix } of await found) report(check, level, message, fix)
}

/** The name that the system gives an error, such as ENOENT; undefined for faults of ours. */
function errnoOf(error: unknown): string | undefined {
  const code = systemErrorCode(error)
  return code !== undefined && /^E[A-Z0-9]+$/.test(code) ? code : undefined
}

/** What fixes errors that say nothing of the home itself; undefined for all others. */
function mendOf({ code, kind }: KeyturnError): string | undefined {
  if (code === 'KEY_PASSPHRASE') return 'keyturn doctor, with the right passphrase'
  if (code === 'KEY_PERMISSION') return 'keyturn doctor, once the permissions it names are fixed'
  if (kind === 'unavailable') return 'keyturn doctor, once the server answers; --offline leaves it out'
  return undefined
}

async function checkPermissions(home: HomeSession, report: Report): Promise<void> {
  if (process.platform === 'win32') return report('permissions', 'ok', 'left to the access lists of Windows')
  const wanted: [string, number][] = [
    [home.paths.folder, 0o077],
    [home.paths.keystore, 0o077],
    [home.nextKeyFile, 0o077],
  ]
  let sound = true
  for (const [path, forbidden] of wanted) {
    if (!(await pathExists(path))) continue
    const { mode } = await stat(path)
    if ((mode & forbidden) === 0) continue
    sound = false
    report(
      'permissions',
      'error',
      `"${path}" is open to others (mode ${(mode & 0o777).toString(8)})`,
      `chmod go-rwx ${path}`,
    )
  }
  if (sound) report('permissions', 'ok', 'home, keystore and next key are closed to others')
}

async function reportLocks(home: HomeSession, report: Report): Promise<void> {
  const findings = await checkLocks(home)
  for (const { level, message, fix } of findings) report('locks', level, message, fix)
  if (findings.length === 0) report('locks', 'ok', 'no other process holds a lock of the home')
}

async function checkLog(home: HomeSession, report: Report): Promise<void> {
  const { log } = await readIdentityLog(home.paths, home.description.identity.prefix)
  const { document } = await rolesInForce(home.paths, log.prefix)
  report('log', 'ok', `${counted(log.events.length, 'event')}, every role document is the one they seal`)
  if (!log.state.traits.includes('EO')) {
    report(
      'log',
      'warning',
      'The identity is not establishment-only: its current key alone can add interaction events',
      'keyturn init',
    )
  }
  if (document.product !== home.description.product)
    report('log', 'error', `Role document is of product "${document.product}"`, 'keyturn roles propose')
}

async function checkKeystore(home: HomeSession, report: Report): Promise<void> {
  const { description, paths } = home
  const keys = await home.keys()
  const { log } = await readIdentityLog(paths, description.identity.prefix)
  const { document } = await rolesInForce(paths, description.identity.prefix)
  const hex = async (alias: string): Promise<string> => hexEncode(await keys.publicKey(alias))
  const faults: string[] = []
  const { bundle } = description
  if (bundle === undefined && !log.state.publicKeys.map(hexEncode).includes(await hex(description.identity.alias)))
    faults.push(`${description.identity.alias} is not the key of the log`)
  for (const role of ['release', 'head'] as const) {
    if (bundle !== undefined && !bundle.roles.includes(role)) continue
    if (!document.roles[role].keys.includes(await hex(description.aliases[role])))
      faults.push(`${description.aliases[role]} is not in role "${role}"`)
  }
  if (
    bundle === undefined &&
    !document.transport.includes(z32Encode(await keys.publicKey(description.aliases.transportIdentity)))
  )
    faults.push('the transport identity is not in the role document')
  const active = activeContentKey(description).keyId
  for (const { keyId, commitment } of description.contentKeys) {
    if (bundle !== undefined && keyId !== active) continue
    const found = await keys.lend(keyAlias.content(keyId), (key) => hexEncode(keyCommitment({ keyId, key })))
    if (found !== commitment) faults.push(`content key ${keyId} has another commitment`)
  }
  for (const slot of description.slots) if (!keys.has(keyAlias.slot(slot))) faults.push(`slot ${slot} is missing`)
  for (const fault of faults) report('keystore', 'error', fault, 'keyturn restore')
  if (faults.length === 0)
    report(
      'keystore',
      'ok',
      `${counted(keys.store.list().length, 'secret')}, each the one that log, role document and releases name`,
    )
}

async function checkNextKey(home: HomeSession, report: Report): Promise<void> {
  const inHome = await nextKeysInHome(home, report)
  if (await pathExists(home.nextKeyFile)) {
    const nextKeys = await home.nextKeys()
    if (!nextKeys.has(home.description.identity.nextAlias)) {
      return report(
        'next-key',
        'error',
        `"${home.nextKeyFile}" does not hold ${home.description.identity.nextAlias}`,
        'bring back the file that does, or "keyturn restore"',
      )
    }
    if (!inHome) report('next-key', 'ok', 'the next identity key is kept apart')
    return
  }
  if (!inHome) report('next-key', 'ok', 'the next identity key is not on this machine, as it should be')
}

/** Warns of every generation of the file with the next key that is in the home, at its own place or at a given one. */
async function nextKeysInHome(home: HomeSession, report: Report): Promise<boolean> {
  const { folder } = home.paths
  const inside = pathInside(folder, home.nextKeyFile) === undefined ? [] : [home.nextKeyFile]
  let found = false
  for (const file of new Set([home.paths.nextIdentityKey, ...inside])) {
    if (await isStoredInside(folder, file)) {
      found = true
      report(
        'next-key',
        'warning',
        'The next identity key is beside the current one: anyone who steals this disk steals the identity',
        `move "${file}" to another medium`,
      )
    }
    if (await isStoredInside(folder, `${file}.previous`)) {
      found = true
      report(
        'next-key',
        'warning',
        'An earlier generation of the next identity key is in the home and may hold the promised key',
        `rm "${file}.previous"`,
      )
    }
  }
  return found
}

async function checkDue(home: HomeSession, { nowMs, client }: DiagnoseOptions, report: Report): Promise<void> {
  const { status, warning } = await withServerHeads(home, await collectStatus(home, nowMs), nowMs, client)
  const { items, pending } = status
  if (warning !== undefined) report('due', 'warning', warning, 'keyturn release renew --all')
  const due = items.filter(({ due_state }) => due_state === 'due' || due_state === 'expired')
  for (const { kind, id, due_state, mend } of due)
    report('due', due_state === 'expired' ? 'error' : 'warning', `${kind} ${id} is ${due_state}`, mend)
  for (const name of pending)
    report('due', 'error', `A rotation of ${name} was interrupted`, await finishingCommand(home.paths.journals, name))
  if (due.length + pending.length === 0) report('due', 'ok', 'nothing is due, no rotation was interrupted')
}

async function checkClock(home: HomeSession, { nowMs }: DiagnoseOptions, report: Report): Promise<void> {
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const head = await readStoredHead(home.paths, home.description.channel)
  const newest = Math.max(Date.parse(document.issuedAt), head === undefined ? 0 : Date.parse(head.head.issuedAt))
  if (nowMs + CLOCK_SLACK_MS < newest)
    report(
      'clock',
      'error',
      `This clock is behind documents that were signed at ${new Date(newest).toISOString()}`,
      'set the clock of this machine',
    )
  else report('clock', 'ok', 'not behind anything that was signed')
}

async function checkReleases(home: HomeSession, report: Report): Promise<void> {
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const offered = await offeredReleases(home)
  for (const { manifest, bytes, signatures } of offered) {
    const channel = manifest.channel ?? ''
    if (signatures === undefined) {
      report(
        'releases',
        'error',
        `${manifest.version} on ${channel} is offered and not signed`,
        `keyturn release sign --channel ${channel}`,
      )
      continue
    }
    verifyManifestSignatures(bytes, signatures, { ...document.roles.release, revokedKeys: document.revokedKeys })
    const head = await readStoredHead(home.paths, channel)
    if (head === undefined) continue
    const envelope = parseHeadEnvelope(head.bytes)
    verifyThreshold({ payloadType: payloadTypes.head, bytes: envelope.payload, name: 'head' }, envelope.signatures, {
      ...document.roles.head,
      revokedKeys: document.revokedKeys,
    })
    report('releases', 'ok', `${manifest.version} on ${channel}: manifest and head are signed by the keys in force`)
  }
  if (offered.length === 0) report('releases', 'ok', 'nothing is offered yet')
}

/** Said only while there is one: a freeze that was forgotten looks like a fault of everything that signs. */
async function checkFreeze(home: HomeSession, { nowMs }: DiagnoseOptions, report: Report): Promise<void> {
  const freeze = await readFreeze(home.paths.folder, () => nowMs)
  if (freeze === undefined) return
  report(
    'freeze',
    'warning',
    `Nothing is signed until ${freeze.frozenUntil}${freeze.reason === '' ? '' : `: ${freeze.reason}`}`,
    'keyturn emergency unfreeze',
  )
}

async function checkServer(home: HomeSession, { client }: DiagnoseOptions, report: Report): Promise<void> {
  if (client === undefined) return report('server', 'ok', 'not asked')
  const { description, paths } = home
  const product = await client.getProduct(description.product)
  if (product === undefined)
    return report(
      'server',
      'warning',
      `The server knows no product "${description.product}"`,
      'keyturn release publish',
    )
  const { log } = await readIdentityLog(paths, description.identity.prefix)
  if (product.log !== null && product.log !== undefined && product.log.sn > log.state.sn) {
    return report(
      'server',
      'error',
      `This home is older than the last rotation of its identity: the server's log ends at event ` +
        `${product.log.sn}, the home's at ${log.state.sn}`,
      'keyturn restore, from a newer backup',
    )
  }
  if (product.log?.said !== log.state.said) {
    return report(
      'server',
      'warning',
      `The server's log ends at event ${product.log?.sn ?? '(none)'}, the home's at ${log.state.sn}`,
      'keyturn release publish',
    )
  }
  const kills = await client.fetchPublic(`/p/${description.product}/kills.json`, { maxBytes: limits.killsBytes })
  if (kills !== undefined) await reportAll('kills', checkKills(home, kills), report)
  const heads = await checkServerHeads(home, client)
  if (heads.length > 0) return reportAll('server', Promise.resolve(heads), report)
  report('server', 'ok', 'the server has the same log, and no head that the home would not accept')
}
