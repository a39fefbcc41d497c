import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import {
  ed25519PublicKey,
  ed25519Sign,
  hexDecode,
  hexEncode,
  systemRandom,
  utf8Encode,
  wipe,
} from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import type { Command } from 'commander'
import { ReleaseServerClient } from '@keyturn/release-client'
import { printAnswer } from '../command-line.ts'
import { ServerError } from '../errors.ts'
import { startHeadSigner } from '../head-signer/server.ts'
import { DEFAULT_RENEWAL_DAYS } from '../head-signer/sign-wanted-head.ts'

/** Reads the one line of a file that nobody else can read. */
async function readPrivate(path: string): Promise<string> {
  const { mode } = await stat(path)
  if (process.platform !== 'win32' && (mode & 0o077) !== 0)
    throw new ServerError('SRV_CONFIG', `Cannot use file "${path}": others can read it`, {
      hint: `Run: chmod 600 ${path}`,
    })
  return (await readFile(path, 'utf8')).trim()
}

function readDays(text: string): number {
  if (!/^[1-9][0-9]{0,3}$/.test(text))
    throw new ServerError('SRV_CONFIG', 'Cannot use --renewal-days: expected a number from 1 to 9999')
  return Number(text)
}

async function askPerson(summary: string): Promise<boolean> {
  if (!process.stdin.isTTY) return false
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return (await terminal.question(`Sign this head?\n${summary}\n[y/N] `)).trim().toLowerCase() === 'y'
  } finally {
    terminal.close()
  }
}

/** `keyturn-server head-signer-key`: makes the key where it is used, so that its secret half never travels. */
export function addHeadSignerKeyCommand(program: Command): void {
  program
    .command('head-signer-key')
    .description(
      'make the key of a head signer, or show the public half of one; "keyturn roles ' +
        'enroll-head-signer" puts it in force',
    )
    .requiredOption('--key-file <path>', 'file of the secret key, made with mode 0600 if it is not there')
    .action(async ({ keyFile }: { keyFile: string }, command: Command) => {
      const known = await pathExists(keyFile)
      const seed = known ? await readSeed(keyFile) : systemRandom(32)
      try {
        if (!known)
          await writeFileAtomic(keyFile, utf8Encode(`${hexEncode(seed)}\n`), { mode: 0o600, overwrite: false })
        const publicKey = hexEncode(ed25519PublicKey(seed))
        printAnswer(
          command,
          { public_key: publicKey, key_file: keyFile, made: !known },
          `${publicKey}\nRun on the publisher's machine: keyturn roles enroll-head-signer --public-key ${publicKey}`,
        )
      } finally {
        wipe(seed)
      }
    })
}

/** Reads a secret key: 64 hex digits in a file that nobody else can read. */
async function readSeed(path: string): Promise<Uint8Array> {
  const text = await readPrivate(path)
  if (!/^[0-9a-f]{64}$/.test(text))
    throw new ServerError('SRV_CONFIG', `Cannot use file "${path}": expected a key of 64 hex digits`)
  return hexDecode(text)
}

interface HeadSignerFlags {
  readonly socket: string
  readonly keyFile: string
  readonly pin: string
  readonly server: string
  readonly confirm?: boolean | undefined
  readonly socketGroup?: boolean | undefined
  readonly state?: string | undefined
  readonly renewalDays: number
  readonly accessCodeFile?: string | undefined
}

/** `keyturn-server head-signer`: the process that holds the head key. */
export function addHeadSignerCommand(program: Command): void {
  program
    .command('head-signer')
    .description(
      'renew heads and sign changed rollouts for the server, in a process of its own that holds the head key',
    )
    .requiredOption('--socket <path>', 'unix socket to listen on')
    .requiredOption('--key-file <path>', 'head key: 64 hex digits, mode 0600')
    .requiredOption('--pin <pin>', 'pin of the identity, did:keri:…')
    .requiredOption('--server <url>', 'address of the release server, to read the public tree')
    .option(
      '--state <folder>',
      'folder for what was accepted and signed; keep it across restarts (default: <socket>.state)',
    )
    .option(
      '--renewal-days <days>',
      "days after the publisher's last head for which heads are still signed",
      readDays,
      DEFAULT_RENEWAL_DAYS,
    )
    .option('--access-code-file <path>', 'access code of protected channels, in a file of mode 0600')
    .option('--confirm', 'ask on this terminal before each change of a rollout; renewals are never asked about')
    .option('--auto', 'no longer needed: without --confirm nobody is asked')
    .option('--socket-group', 'let programs of the same group as this one connect: mode 0660 instead of 0600')
    .action(runHeadSigner)
}

async function runHeadSigner(options: HeadSignerFlags, command: Command): Promise<void> {
  const seed = await readSeed(options.keyFile)
  const { accessCodeFile } = options
  const accessCode = accessCodeFile === undefined ? undefined : await readPrivate(accessCodeFile)
  const client = new ReleaseServerClient(options.server, { accessCode })
  const signer = await startHeadSigner({
    socket: options.socket,
    pin: options.pin,
    signer: { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) },
    state: options.state,
    renewalDays: options.renewalDays,
    mode: options.confirm === true ? 'confirm' : 'auto',
    confirm: process.stdin.isTTY ? askPerson : undefined,
    socketMode: options.socketGroup === true ? 0o660 : 0o600,
    fetchPublic: (path) => client.fetchPublic(path),
  })
  printAnswer(command, { socket: options.socket }, `Listening on ${options.socket}`)
  const ended = new AbortController()
  await Promise.race([
    once(process, 'SIGTERM', { signal: ended.signal }),
    once(process, 'SIGINT', { signal: ended.signal }),
  ])
  ended.abort()
  await signer.close()
  seed.fill(0)
}
