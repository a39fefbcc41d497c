import { readFile } from 'node:fs/promises'
import { isRecord, parseStrictJson } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import type { Command } from 'commander'
import { CliError } from './errors.ts'

/** What a configuration file can set. Flags win over it. */
export interface Config {
  /** As `--home`. */
  readonly home?: string
  /** As `--passphrase-file`. */
  readonly passphraseFile?: string
  /** Defaults for options of single commands: `{"pack build": {"level": 9}}`. */
  readonly commands: Readonly<Record<string, Readonly<Record<string, JsonValue>>>>
}

const MAX_CONFIG_BYTES = 256 * 1024

/**
 * Reads the file of `--config` or `$KEYTURN_CONFIG`; without either there is no configuration.
 *
 * @param path - The flag's value.
 * @param env - Variables of the process.
 * @throws {@link CliError} `CLI_CONFIG`, `CLI_PATH_UNKNOWN`.
 */
export async function readConfig(
  path: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Config> {
  const file = path ?? env['KEYTURN_CONFIG']
  if (file === undefined || file === '') return { commands: {} }
  const bytes = await readFile(file)
  let value: JsonValue
  try {
    value = parseStrictJson(bytes, { maxBytes: MAX_CONFIG_BYTES })
  } catch (cause) {
    throw new CliError('CLI_CONFIG', `Cannot read "${file}": not strict JSON`, { cause })
  }
  return parseConfig(value, file)
}

function parseConfig(value: JsonValue, file: string): Config {
  if (!isRecord(value)) throw new CliError('CLI_CONFIG', `"${file}" holds no JSON object`)
  const config: { home?: string; passphraseFile?: string; commands: Record<string, Record<string, JsonValue>> } = {
    commands: {},
  }
  for (const [key, setting] of Object.entries(value)) {
    if ((key === 'home' || key === 'passphraseFile') && typeof setting === 'string') config[key] = setting
    else if (key === 'commands' && isRecord(setting)) config.commands = parseCommands(setting, file)
    else
      throw new CliError('CLI_CONFIG', `"${file}": "${key}" is not a setting, or has the wrong type`, {
        hint: 'Settings are home, passphraseFile, commands',
      })
  }
  return config
}

function parseCommands(
  value: Readonly<Record<string, JsonValue>>,
  file: string,
): Record<string, Record<string, JsonValue>> {
  const commands: Record<string, Record<string, JsonValue>> = {}
  for (const [name, defaults] of Object.entries(value)) {
    if (!isRecord(defaults)) throw new CliError('CLI_CONFIG', `"${file}": commands["${name}"] is not an object`)
    commands[name] = { ...defaults }
  }
  return commands
}

/**
 * Gives the options of a command that the command line left at their defaults the values of the configuration.
 *
 * @param command - The command about to run.
 * @param name - `pack build`.
 * @param config - The configuration.
 * @throws {@link CliError} `CLI_CONFIG` when the command has no such option.
 */
export function applyCommandDefaults(command: Command, name: string, config: Config): void {
  const defaults = config.commands[name]
  if (defaults === undefined) return
  for (const [key, value] of Object.entries(defaults)) {
    const option = command.options.find((known) => known.attributeName() === key)
    if (option === undefined) throw new CliError('CLI_CONFIG', `"keyturn ${name}" has no option "${key}"`)
    const source = command.getOptionValueSource(key)
    if (source === undefined || source === 'default') {
      command.setOptionValueWithSource(key, typeof value === 'number' ? String(value) : value, 'config')
    }
  }
}
