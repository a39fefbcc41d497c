import { readFile, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { parseRoles } from '@keyturn/manifest'
import { checkRolesStep, writeRoles } from '@keyturn/manifest/publish'
import {
  sha256Hex,
  ed25519PublicKey,
  hexDecode,
  hexEncode,
  printable,
  systemRandom,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import type { RoleDocument } from '@keyturn/manifest'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { collect, wholeNumber } from '../../flags/values.ts'
import { withNextKey } from '../../flags/next-key.ts'
import { withServer } from '../../flags/server.ts'
import { openHome } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { readProposal } from '@keyturn/publisher/identity'
import { daysFrom } from '@keyturn/publisher/keys'
import { rolesInForce } from '@keyturn/publisher/records'
import { trustPin } from '@keyturn/publisher/release'
import type { StoredRoles } from '@keyturn/publisher/records'
import { finishingCommand, rotationPending } from '@keyturn/publisher/pending'
import { identityRotation, readRotation } from '@keyturn/publisher/rotation'
import { runRotation } from '../rotate/run-rotation.ts'
import { openSeal } from './seal.ts'
import type { SealOptions } from './seal.ts'

interface EnrollOptions extends SealOptions {
  readonly keyFile: string
  readonly publicKey?: string | undefined
  readonly days: string
}

/** Registers `keyturn roles enroll-head-signer`. */
export function registerEnrollHeadSigner(roles: Command, cli: Cli): void {
  const enroll = withNextKey(
    withServer(
      roles
        .command('enroll-head-signer')
        .description('give the head signer of a server a head key of its own, and put it in force')
        .option('--key-file <file>', 'where its secret key is written, mode 0600: move it there', 'head-signer.key')
        .option('--public-key <hex>', 'the key was made on the server with "keyturn-server head-signer-key"')
        .option('--days <n>', 'days until the new role document expires, at most 400', '365')
        .option(
          '--channel <name>',
          'a channel that gets a new head; may be given several times (default: all that offer something)',
          collect,
        )
        .option('--local', 'publish nothing now'),
    ),
  )
  cli.define<EnrollOptions>(enroll, {
    example: [
      'keyturn roles enroll-head-signer --next-passphrase-file next.txt',
      'keyturn roles enroll-head-signer --public-key <hex> --next-passphrase-file next.txt',
    ],
    dryRun: true,
    run: runEnroll,
  })
}

/** The key of the signer: the secret half is known here only when this command makes it. */
interface SignerKey {
  readonly publicKey: string
  /** A file that holds it already, from an interrupted run. */
  readonly known: boolean
  readonly seed: Uint8Array | undefined
}

async function runEnroll(context: Context, options: EnrollOptions): Promise<CommandResult> {
  const home = await openHome(context, {
    write: !context.dryRun,
    nextPassphraseFile: options.nextPassphraseFile,
    nextKeyFile: options.nextKeyFile,
  })
  const { document } = await rolesInForce(home.paths, home.description.identity.prefix)
  const key = await signerKey(options)
  try {
    if (document.roles.head.keys.includes(key.publicKey)) return await answer(home, options, key, document)
    const proposal = await proposalFor(home, document, key.publicKey, {
      nowMs: context.clock(),
      days: wholeNumber(options.days, '--days', 1, 400),
    })
    const command = await openSeal(context, home, options, proposal)
    await command.refuse(await readRotation(home.paths.journals, identityRotation))
    if (context.dryRun) return await preview(options, key, proposal.document)
    await context.ask.confirm(
      `Rotate the identity and let the key ${key.publicKey.slice(0, 16)} sign heads, in role ` +
        `document ${proposal.document.version}?`,
    )
    // Before the document is sealed: a key that is in force and lost would have to be revoked.
    if (key.seed !== undefined && !key.known)
      await writeFileAtomic(resolve(options.keyFile), utf8Encode(`${hexEncode(key.seed)}\n`), {
        mode: 0o600,
        overwrite: false,
      })
    const asked = {
      ...command,
      plan: async (...args: Parameters<typeof command.plan>) => {
        const planned = await command.plan(...args)
        return 'steps' in planned ? { ...planned, question: undefined } : planned
      },
    }
    await runRotation(context, asked, {})
    return await answer(home, options, key, proposal.document)
  } finally {
    if (key.seed !== undefined) wipe(key.seed)
  }
}

async function signerKey({ publicKey, keyFile }: EnrollOptions): Promise<SignerKey> {
  if (publicKey !== undefined) {
    if (!/^[0-9a-f]{64}$/.test(publicKey)) throw new CliError('CLI_USAGE', '--public-key wants 64 hex digits')
    return { publicKey, known: true, seed: undefined }
  }
  const known = await pathExists(resolve(keyFile))
  const seed = known ? await readKeyFile(resolve(keyFile)) : systemRandom(32)
  return { publicKey: hexEncode(ed25519PublicKey(seed)), known, seed }
}

/** A file of an interrupted run is used again; any other is left alone. */
async function readKeyFile(path: string): Promise<Uint8Array> {
  const { mode } = await stat(path)
  const text = (await readFile(path, 'utf8')).trim()
  const isKey = /^[0-9a-f]{64}$/.test(text) && (process.platform === 'win32' || (mode & 0o077) === 0)
  if (isKey) return hexDecode(text)
  throw new CliError('CLI_EXISTS', `Already there, and no key that only you can read: "${printable(path)}"`, {
    hint: 'Give another --key-file',
  })
}

async function proposalFor(
  home: HomeSession,
  document: RoleDocument,
  publicKey: string,
  { nowMs, days }: { readonly nowMs: number; readonly days: number },
): Promise<StoredRoles> {
  const { head } = document.roles
  if (head.threshold > 1)
    throw new CliError(
      'CLI_TURN_UNREADY',
      `Heads need ${head.threshold} signatures, so no signer can sign them alone`,
      {
        hint: 'Run "keyturn roles propose --head-threshold 1" first, or renew heads by hand',
      },
    )
  if (document.revokedKeys.includes(publicKey))
    throw new CliError('CLI_USAGE', 'This key was revoked: make another one')
  const pending = await readRotation(home.paths.journals, identityRotation)
  if (pending !== undefined) {
    const bytes = pending.state.terms?.proposal
    const sealing = bytes === undefined ? undefined : parseRoles(bytes)
    if (bytes === undefined || sealing?.roles.head.keys.includes(publicKey) !== true)
      throw rotationPending('identity', await finishingCommand(home.paths.journals, 'identity'))
    return { bytes, document: sealing }
  }
  if ((await readProposal(home.paths)) !== undefined)
    throw new CliError('CLI_TURN_UNREADY', 'Another role document is proposed and not sealed yet', {
      hint: 'Run "keyturn roles seal" first',
    })
  const next: RoleDocument = {
    ...document,
    version: document.version + 1,
    issuedAt: daysFrom(nowMs, 0),
    expiresAt: daysFrom(nowMs, days),
    roles: { ...document.roles, head: { ...head, keys: [...head.keys, publicKey] } },
  }
  checkRolesStep(document, next)
  return { bytes: writeRoles(next), document: next }
}

function preview({ keyFile }: EnrollOptions, key: SignerKey, document: RoleDocument): CommandResult {
  const where = key.known ? `The key ${key.publicKey}` : `A new key in "${keyFile}"`
  return {
    data: { enrolled: false, roles_version: document.version, key_file: key.seed === undefined ? undefined : keyFile },
    text: `${where} would sign heads from role document ${document.version} on; the identity would be rotated.`,
  }
}

async function answer(
  home: HomeSession,
  { keyFile }: EnrollOptions,
  key: SignerKey,
  document: RoleDocument,
): Promise<CommandResult> {
  const pin = await trustPin(home)
  const place =
    key.seed === undefined ? 'The secret half is on the server already.' : `Move "${keyFile}" to the server.`
  return {
    data: {
      enrolled: true,
      public_key: key.publicKey,
      roles_version: document.version,
      roles_sha256: sha256Hex(writeRoles(document)),
      key_file: key.seed === undefined ? undefined : keyFile,
      pin,
    },
    text: [
      `The key ${key.publicKey} signs heads since role document ${document.version}.`,
      `${place} Its service needs the pin:`,
      pin,
      'docs/operations/deploy.md has the unit file.',
    ].join('\n'),
  }
}
