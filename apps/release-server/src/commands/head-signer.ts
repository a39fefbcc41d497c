import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import { createInterface } from 'node:readline/promises'
import { ed25519PublicKey, ed25519Sign, hexDecode } from '@keyturn/primitives'
import type { Command } from 'commander'
import { ReleaseServerClient } from '@keyturn/release-client'
import { printAnswer } from '../command-line.ts'
import { ServerError } from '../errors.ts'
import { DEFAULT_RENEWAL_DAYS, startHeadSigner } from '../head-signer/server.ts'

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

/** `keyturn-server head-signer`: the process that holds the head key. */
export function addHeadSignerCommand(program: Command): void {
  program
    .command('head-signer')
    .description('Sign changed rollouts for the server, in a process of its own that holds the head key')
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
    .option('--auto', 'sign every head that passes without asking anybody')
    .action(
      async (
        options: {
          socket: string
          keyFile: string
          pin: string
          server: string
          auto?: boolean
          state?: string
          renewalDays: number
          accessCodeFile?: string
        },
        command: Command,
      ) => {
        const seed = hexDecode(await readPrivate(options.keyFile))
        const { accessCodeFile } = options
        const accessCode = accessCodeFile === undefined ? undefined : await readPrivate(accessCodeFile)
        const client = new ReleaseServerClient(options.server, { accessCode })
        const signer = await startHeadSigner({
          socket: options.socket,
          pin: options.pin,
          signer: { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) },
          ...(options.state === undefined ? {} : { state: options.state }),
          renewalDays: options.renewalDays,
          mode: options.auto === true ? 'auto' : 'confirm',
          confirm: askPerson,
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
      },
    )
}
