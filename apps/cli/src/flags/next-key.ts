import type { Command } from 'commander'

/** Where the file with the next identity key is, for commands that open it. */
export interface NextKeyOptions {
  readonly nextKeyFile?: string | undefined
  readonly nextPassphraseFile?: string | undefined
}

/** Adds the flags of {@link NextKeyOptions}. */
export function withNextKey(command: Command): Command {
  return command
    .option('--next-key-file <file>', 'where the file with the next identity key is now (default: where the home says)')
    .option('--next-passphrase-file <file>', 'passphrase of the file with the next identity key, when it has its own')
}
