import { flattenCommands } from '../command-tree.ts'
import type { CommandDescription, FlagDescription } from '../command-tree.ts'

/** A command as an MCP client sees it. */
export interface CommandTool {
  /** `pack_verify`. */
  readonly name: string
  readonly description: string
  /** Whether it changes nothing. */
  readonly reads: boolean
  /** Whether it may ask a server. */
  readonly asksServer: boolean
  /** JSON Schema of its arguments. */
  readonly schema: ToolSchema
  /**
   * The words of a command line for arguments that fit the schema.
   *
   * @param args - As the client sent them.
   */
  argv(args: Readonly<Record<string, unknown>>): string[]
}

/** The part of JSON Schema that describes flags. */
export interface ToolSchema {
  readonly type: 'object'
  readonly properties: Readonly<Record<string, PropertySchema>>
  readonly required: string[]
  readonly additionalProperties: false
}

interface PropertySchema {
  readonly type: 'string' | 'boolean' | 'array'
  readonly description: string
  readonly enum?: string[]
  readonly items?: { readonly type: 'string' }
}

/** Commands that change nothing. What is not listed needs `--allow-write`. */
const READS = new Set([
  'explain',
  'status',
  'doctor',
  'verify',
  'pack list',
  'pack verify',
  'pack diff',
  'pack inspect',
  'id show',
  'id log',
  'id check',
  'roles show',
  'release list',
  'release show',
  'release diff',
  'release trust',
  'release verify',
  'release verify-public',
  'device list',
  'emergency report',
  'noise status',
  'noise plan',
  'noise audit',
  'vault status',
  'vault list',
  'vault audit verify',
  'vault audit list',
  'id witness list',
  'noise derive',
])
/** Commands that talk to a person, or never end. */
const NEVER = new Set(['demo', 'serve', 'mcp', 'completion', 'launch'])
/**
 * Where secrets are read and where they go is said when the server starts, never by a client: an agent that is talked
 * into it would send a token, or any file of one line, to any address.
 */
const SECRET_FLAG = /^(server|token-file|insecure-http|(.*-)?passphrase-(file|fd)|access-code-file)$/
/** Flags of reading commands that write a file or show a secret. */
const WRITING_FLAGS = new Set(['ics', 'output', 'show-secret'])

/**
 * Makes a tool of every command that a program can use.
 *
 * @param root - The whole command line.
 * @param allowWrite - Those that change something too.
 */
export function commandTools(root: CommandDescription, allowWrite: boolean): CommandTool[] {
  return flattenCommands(root)
    .filter(({ path, commands }) => path !== '' && commands.length === 0 && !NEVER.has(path))
    .map((command) => toolOf(command, allowWrite))
    .filter((tool) => tool.reads || allowWrite)
}

function toolOf(command: CommandDescription, allowWrite: boolean): CommandTool {
  const reads = READS.has(command.path)
  const flags = new Map(
    command.flags
      .filter(({ long }) => !SECRET_FLAG.test(long.slice(2)) && (allowWrite || !WRITING_FLAGS.has(long.slice(2))))
      .map((flag) => [propertyName(flag.long), flag] as const),
  )
  const properties: Record<string, PropertySchema> = {}
  const required: string[] = []
  for (const argument of command.args) {
    properties[propertyName(argument.name)] = argument.variadic
      ? { type: 'array', description: argument.description, items: { type: 'string' } }
      : { type: 'string', description: argument.description }
    if (argument.required) required.push(propertyName(argument.name))
  }
  for (const [name, flag] of flags) properties[name] = propertyOf(flag)
  if (command.dryRun)
    properties['dry_run'] = { type: 'boolean', description: 'say what would be done and change nothing' }
  return {
    name: propertyName(command.path.replaceAll(' ', '_')),
    description: command.summary,
    reads,
    asksServer: command.flags.some(({ long }) => long === '--server'),
    schema: { type: 'object', properties, required, additionalProperties: false },
    argv: (args) => [
      ...command.path.split(' '),
      ...flagWords(args, flags),
      ...(args['dry_run'] === true ? ['--dry-run'] : []),
      ...positionalWords(args, command),
    ],
  }
}

function propertyName(text: string): string {
  return text.replace(/^--(no-)?/, '').replaceAll('-', '_')
}

function propertyOf({ value, description, choices, long }: FlagDescription): PropertySchema {
  if (value === '')
    return { type: 'boolean', description: long.startsWith('--no-') ? `false: ${description}` : description }
  return {
    type: 'string',
    description: `${description} ${value}`,
    ...(choices.length === 0 ? {} : { enum: [...choices] }),
  }
}

function flagWords(args: Readonly<Record<string, unknown>>, flags: ReadonlyMap<string, FlagDescription>): string[] {
  return [...flags].flatMap(([name, { long, value }]) => {
    const given = args[name]
    if (given === undefined) return []
    if (value !== '') return [`${long}=${String(given)}`]
    return (long.startsWith('--no-') ? given === false : given === true) ? [long] : []
  })
}

/** Behind `--`, so that no argument is taken for a flag. */
function positionalWords(args: Readonly<Record<string, unknown>>, { args: positional }: CommandDescription): string[] {
  const words = positional.flatMap(({ name }) => {
    const given = args[propertyName(name)]
    if (given === undefined) return []
    return Array.isArray(given) ? given.map(String) : [String(given)]
  })
  return words.length === 0 ? [] : ['--', ...words]
}
