import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { LauncherBuildError } from './errors.ts'

const run = promisify(execFile)

/**
 * Splits a command line into words as a shell does, without running one: quotes group, a backslash takes the next
 * character.
 */
export function commandWords(line: string): string[] {
  const words: string[] = []
  const pattern = /\s*((?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+)/gy
  let end = 0
  for (const match of line.matchAll(pattern)) {
    const word = match[1] as string
    words.push(
      word.replaceAll(/"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/g, (_whole, double, single, escaped) =>
        double !== undefined ? String(double).replaceAll(/\\(["\\])/g, '$1') : String(single ?? escaped),
      ),
    )
    end = match.index + match[0].length
  }
  if (line.slice(end).trim() !== '')
    throw new LauncherBuildError('LB_SIGN', 'Cannot read the signing command: a quote is not closed')
  return words
}

/**
 * Checks a signing command before anything is built.
 *
 * @throws LauncherBuildError `LB_SIGN`.
 */
export function checkSignCommand(command: string | undefined): void {
  if (command === undefined) return
  const words = commandWords(command)
  const names = (place: string): boolean => words.slice(1).some((word) => word.includes(place))
  if (!names('{in}') || !names('{out}'))
    throw new LauncherBuildError('LB_SIGN', 'The signing command has to contain {in} and {out}')
}

/**
 * Has a command of the studio's sign a file.
 *
 * @param command - Contains `{in}` and `{out}`; run without a shell. `undefined`: the bytes come back unsigned.
 * @throws LauncherBuildError `LB_SIGN`.
 */
export async function signFile(bytes: Uint8Array, command: string | undefined): Promise<Uint8Array> {
  if (command === undefined) return bytes
  checkSignCommand(command)
  const [program = '', ...words] = commandWords(command)
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-sign-'))
  try {
    const [from, to] = [join(folder, 'unsigned.exe'), join(folder, 'signed.exe')]
    await writeFile(from, bytes)
    await run(
      program,
      words.map((word) => word.replaceAll('{in}', from).replaceAll('{out}', to)),
    )
    return await readFile(to)
  } catch (cause) {
    const printed = (cause as { stderr?: string }).stderr?.trim().slice(-500) ?? ''
    throw new LauncherBuildError('LB_SIGN', `The signing command "${program}" failed: ${printed}`, { cause })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
