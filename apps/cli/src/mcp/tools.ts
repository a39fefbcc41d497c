import { flattenCommands } from '../command-tree.ts'
import type { ArgumentDescription, CommandDescription, FlagDescription } from '../command-tree.ts'

/** A command as an MCP client sees it. */
export interface CommandTool {
  /** `pack_verify`. */
  readonly name: string
  readonly description: string
  /** Whether it changes nothing. */
  readonly reads: boolean
  /** Whether it may contact other machines. */
  readonly usesNetwork: boolean
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
  readonly type: 'string' | 'boolean' | 'array' | 'integer' | readonly ['integer', 'string']
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
/**
 * Commands that use this machine only. Any other tool says that it may ask others, so a new command never
 * promises too much.
 */
const LOCAL = new Set([
  'explain',
  'verify',
  'sign',
  'backup',
  'passphrase',
  'emergency report',
  'id show',
  'id log',
  'id check',
  'id export',
  'id witness list',
  'noise status',
  'noise plan',
  'noise derive',
  'noise sign-request',
  'release prepare',
  'release sign',
  'release show',
  'release diff',
  'release trust',
  'release verify',
  'release discard',
  'roles show',
  'roles propose',
  'device list',
])
const LOCAL_NOUNS = ['pack ', 'vault ']
/** Names of values that are whole numbers, and flags that take one of these or a word. */
const NUMBERS = new Set(['<n>', '<days>', '<hours>', '<bytes>', '<sequence>'])
const NUMBER_OR_WORD = new Set(['--interval', '--blobs'])
/** Positional arguments that are whole numbers, by command. */
const NUMBER_ARGUMENTS = new Set(['vault retire version'])
/** Commands that talk to a person, never end, or write and read parts of a passphrase. */
const NEVER = new Set([
  'demo',
  'drill',
  'serve',
  'mcp',
  'completion',
  'launch',
  'vault shares make',
  'vault shares use',
])
/**
 * The flags of the server say where secrets are read from and sent to; a client cannot. An agent that is tricked would
 * otherwise send a token, or any file of one line, to any address.
 */
const SECRET_FLAG =
  /^(server|webhook|exec|arg|token-file|insecure-http|(.*-)?passphrase-(file|fd)|(access-)?code-file|share-file|shares)$/
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
    properties[propertyName(argument.name)] = argumentSchema(command.path, argument)
    if (argument.required) required.push(propertyName(argument.name))
  }
  for (const [name, flag] of flags) {
    properties[name] = propertyOf(flag)
    if (flag.required) required.push(name)
  }
  if (command.dryRun)
    properties['dry_run'] = { type: 'boolean', description: 'say what would be done and change nothing' }
  return {
    name: propertyName(command.path.replaceAll(' ', '_')),
    description: command.summary,
    reads,
    usesNetwork: !LOCAL.has(command.path) && !LOCAL_NOUNS.some((noun) => command.path.startsWith(noun)),
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

function argumentSchema(path: string, { name, variadic, description }: ArgumentDescription): PropertySchema {
  if (variadic) return { type: 'array', description, items: { type: 'string' } }
  return { type: NUMBER_ARGUMENTS.has(`${path} ${name}`) ? 'integer' : 'string', description }
}

function propertyOf({ value, description, choices, long, repeatable }: FlagDescription): PropertySchema {
  if (value === '')
    return { type: 'boolean', description: long.startsWith('--no-') ? `false: ${description}` : description }
  if (repeatable) return { type: 'array', description: `${description} ${value}`, items: { type: 'string' } }
  if (NUMBER_OR_WORD.has(long)) return { type: ['integer', 'string'], description }
  if (NUMBERS.has(value)) return { type: 'integer', description }
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
    // An empty list gives no words: commander would ask for a value.
    if (Array.isArray(given)) return given.map((each) => `${long}=${String(each)}`)
    if (value !== '') return [`${long}=${String(given)}`]
    return (long.startsWith('--no-') ? given === false : given === true) ? [long] : []
  })
}

/** After `--`, so that no argument is taken for a flag. */
function positionalWords(args: Readonly<Record<string, unknown>>, { args: positional }: CommandDescription): string[] {
  const words = positional.flatMap(({ name }) => {
    const given = args[propertyName(name)]
    if (given === undefined) return []
    return Array.isArray(given) ? given.map(String) : [String(given)]
  })
  return words.length === 0 ? [] : ['--', ...words]
}
