import { openEterPack, openPck } from '@keyturn/m2pack-format/legacy'
import type { LegacyPack } from '@keyturn/m2pack-format/legacy'
import { logicalPath, M2pError } from '@keyturn/m2pack-format'
import { openFileSource, SafeFolder } from '@keyturn/m2pack-format/node'
import { hexDecode, printable } from '@keyturn/primitives'
import type { Command } from 'commander'
import { mkdir, readFile } from 'node:fs/promises'
import type { Cli, CommandResult, Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { counted } from '../../output.ts'
import { requireFiles } from '../../paths.ts'

interface ImportFlags {
  readonly input: string
  readonly output?: string | undefined
  readonly legacyKeyFile?: string | undefined
  readonly skipUnreadable?: boolean | undefined
}

/** Registers `import`. */
export function registerImport(parent: Command, cli: Cli): void {
  const command = parent
    .command('import')
    .description('unpack a pack of an older format (.pck, .eix with its .epk) into a folder')
    .requiredOption('--input <file>', '.pck, or the .eix beside its .epk')
    .option('--output <dir>', 'folder to write; without it the files are only listed')
    .option('--legacy-key-file <file>', 'key of a .pck, 64 hex digits (default: the one in the published source)')
    .option('--skip-unreadable', 'leave out files whose keys only the game server has')
  cli.define<ImportFlags>(command, {
    example: 'keyturn pack import --input pack/root.pck --output tree/root',
    run: runImport,
  })
}

async function openPack(context: Context, flags: ImportFlags): Promise<LegacyPack> {
  const eix = /\.eix$/i.test(flags.input)
  const contents = eix ? flags.input.replace(/eix$/, 'epk').replace(/EIX$/, 'EPK') : flags.input
  requireFiles(flags.input, contents, flags.legacyKeyFile)
  const source = await openFileSource(contents)
  context.defer(() => source.close())
  if (eix) return openEterPack(await readFile(flags.input), source)
  if (flags.legacyKeyFile === undefined) return openPck(source)
  const text = (await readFile(flags.legacyKeyFile, 'latin1')).trim()
  if (!/^[0-9a-f]{64}$/i.test(text))
    throw new CliError('CLI_USAGE', '--legacy-key-file wants a file with 64 hex digits')
  return openPck(source, { key: hexDecode(text.toLowerCase()) })
}

async function runImport(context: Context, flags: ImportFlags): Promise<CommandResult> {
  const pack = await openPack(context, flags)
  const unreadable = pack.files.filter(({ refusal }) => refusal !== undefined)
  const [first] = unreadable
  if (flags.output !== undefined && first !== undefined && flags.skipUnreadable !== true) {
    throw new M2pError(
      'M2P_LEGACY',
      `${counted(unreadable.length, 'file')} cannot be imported, "${printable(first.path)}" for one: ${first.refusal}`,
      {
        hint: 'Leave them out with --skip-unreadable',
      },
    )
  }
  const readable = pack.files.filter(({ refusal }) => refusal === undefined)
  if (flags.output !== undefined) await writeFiles(context, readable, flags.output)
  return {
    data: {
      format: pack.format,
      output: flags.output,
      files: pack.files.map(({ path, size, storage, refusal }) => ({
        path,
        size,
        storage,
        ...(refusal === undefined ? {} : { refusal }),
      })),
      imported: flags.output === undefined ? 0 : readable.length,
      unreadable: unreadable.length,
    },
    text: [
      ...pack.files.map(({ path, storage }) => `${printable(path)}  (${storage})`),
      `${pack.format}: ${counted(pack.files.length, 'file')}, ${unreadable.length} unreadable; nothing in such a ` +
        'pack proves who made it',
    ].join('\n'),
  }
}

async function writeFiles(context: Context, files: LegacyPack['files'], output: string): Promise<void> {
  await mkdir(output, { recursive: true })
  const folder = new SafeFolder(output)
  context.defer(() => folder.close())
  for (const file of files) {
    context.signal.throwIfAborted()
    const bytes = await file.read()
    folder.writeFile(logicalPath(file.path), 'new', (write) => write(bytes))
  }
}
