import { fromJsonSchema, McpServer } from '@modelcontextprotocol/server'
import type { CallToolResult } from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import type { Command } from 'commander'
import { describeCommandLine } from '../command-tree.ts'
import type { Cli, CommandLine, CommandResult, Context, GlobalFlags } from '../command.ts'
import { commandTools } from '../mcp/tools.ts'
import type { CommandTool } from '../mcp/tools.ts'
import { version } from '../version.ts'

interface McpOptions {
  readonly allowWrite?: boolean | undefined
}

/** Registers `keyturn mcp`. */
export function registerMcp(program: Command, cli: Cli): void {
  const mcp = program
    .command('mcp')
    .description('serve the same commands as tools over MCP on stdio; read-only unless --allow-write')
    .option('--allow-write', 'tools that change keys, releases or files too')
  cli.define<McpOptions>(mcp, {
    example: ['keyturn mcp --home ./keys --passphrase-file passphrase.txt', 'keyturn mcp --allow-write'],
    run: (context, options) => serve(cli.commandLine, context, options, program.opts<GlobalFlags>()),
  })
}

/** Stdout belongs to the protocol: nothing is announced and nothing is answered. */
async function serve(
  commandLine: CommandLine,
  context: Context,
  options: McpOptions,
  flags: GlobalFlags,
): Promise<CommandResult> {
  const tools = commandTools(await describeCommandLine(commandLine), options.allowWrite === true)
  const given = [
    '--home',
    context.homeFolder,
    ...(flags.passphraseFile === undefined ? [] : ['--passphrase-file', flags.passphraseFile]),
    ...(flags.config === undefined ? [] : ['--config', flags.config]),
  ]
  const handle = serveStdio(() => serverOf(commandLine, tools, given, context.signal))
  await new Promise<void>((closed) => {
    process.stdin.once('end', () => closed())
    context.signal.addEventListener('abort', () => closed(), { once: true })
  })
  await handle.close()
  return { data: {}, raw: '' }
}

function serverOf(
  commandLine: CommandLine,
  tools: readonly CommandTool[],
  given: readonly string[],
  signal: AbortSignal,
): McpServer {
  const server = new McpServer({ name: 'keyturn', version: version() }, { capabilities: { tools: {} } })
  for (const tool of tools) {
    server.registerTool(
      tool.name,
      {
        description: tool.description,
        inputSchema: fromJsonSchema<Record<string, unknown>>(tool.schema),
        annotations: { readOnlyHint: tool.reads, destructiveHint: !tool.reads, openWorldHint: tool.usesNetwork },
      },
      async (args) => await call(commandLine, tool.argv(args), given, signal),
    )
  }
  // A name that scripts for the original's server use.
  server.registerTool(
    'pack_binary_info',
    {
      description: 'version and place of this program',
      inputSchema: fromJsonSchema<Record<string, unknown>>({
        type: 'object',
        properties: {},
        additionalProperties: false,
      }),
      annotations: { readOnlyHint: true, destructiveHint: false, openWorldHint: false },
    },
    () => ({
      content: [
        {
          type: 'text',
          text: JSON.stringify({
            ok: true,
            command: 'binary info',
            data: { version: version(), path: process.argv[1] ?? '' },
          }),
        },
      ],
    }),
  )
  return server
}

/**
 * Runs a command in this process; its JSON envelope is the result. Questions were answered by starting with
 * `--allow-write`.
 */
async function call(
  commandLine: CommandLine,
  argv: readonly string[],
  given: readonly string[],
  signal: AbortSignal,
): Promise<CallToolResult> {
  let printed = ''
  const words = [...given, '--json', '--yes', ...argv]
  const exitCode = await commandLine.run(words, {
    stdout: {
      write: (text) => {
        printed += text
      },
    },
    stderr: { write: () => true },
    env: process.env,
    signal,
  })
  return { content: [{ type: 'text', text: printed.trim() }], isError: exitCode > 1 }
}
