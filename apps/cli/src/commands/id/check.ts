import { readFile } from 'node:fs/promises'
import { checkStream } from '@keyturn/kel'
import type { CheckedMessage } from '@keyturn/kel'
import type { JsonObject } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { formatTable } from '../../output.ts'
import { stateJson } from './json.ts'

interface CheckFlags {
  readonly lenient?: string | undefined
}

/** Registers `keyturn id check`. */
export function registerIdCheck(id: Command, cli: Cli): void {
  const check = id
    .command('check <file>')
    .description('answer each message of a CESR stream: accepted, held, duplicitous or rejected, and why')
    .option('--lenient <who>', '"keripy": let pass what keripy lets pass, and say so')
  cli.define<CheckFlags>(check, { example: 'keyturn id check identity.cesr --json', run: runCheck })
}

function messageJson(message: CheckedMessage): JsonObject {
  const { said, type, sn, verdict, explanation, warnings, code } = message
  return {
    said,
    type,
    sn: sn ?? null,
    verdict,
    explanation,
    warnings: [...warnings],
    ...(code === undefined ? {} : { code }),
  }
}

async function runCheck(
  _context: Context,
  { lenient }: CheckFlags,
  [file]: readonly (string | undefined)[],
): Promise<CommandResult> {
  if (lenient !== undefined && lenient !== 'keripy') throw new CliError('CLI_USAGE', '--lenient knows "keripy" only')
  const { messages, states } = checkStream(await readFile(file ?? ''), { lenient })
  const sound = messages.every(({ verdict }) => verdict.startsWith('accept')) && messages.length > 0
  const [state] = states
  return {
    data: {
      sound,
      messages: messages.map(messageJson),
      state: state === undefined ? null : stateJson(state),
      states: states.map(stateJson),
    },
    text: [
      formatTable(
        messages.map(({ type, sn, verdict, explanation }) => [
          type,
          sn === undefined ? '' : String(sn),
          verdict,
          explanation,
        ]),
      ),
      ...states.map((final) => `did:keri:${final.prefix} at event ${final.sn}, ${final.said}`),
    ].join('\n'),
    no: !sound,
  }
}
