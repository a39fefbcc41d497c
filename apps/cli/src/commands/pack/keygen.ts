import { generateKeyFiles } from '@keyturn/m2pack-format/node'
import { hexEncode } from '@keyturn/primitives'
import type { Command } from 'commander'
import type { Cli } from '../../command.ts'
import { formatTable } from '../../output.ts'

interface KeygenOptions {
  readonly outDir: string
  readonly slots: boolean
}

/** Registers `keygen`. */
export function registerKeygen(parent: Command, cli: Cli): void {
  const command = parent
    .command('keygen')
    .description('make master.key, signing.key, signing.pub and slots.key; never overwrites')
    .requiredOption('--out-dir <dir>', 'folder for the key files')
    .option('--no-slots', 'write no slots.key: slot 1 is then derived from the content key')
  cli.define<KeygenOptions>(command, {
    example: 'keyturn pack keygen --out-dir keys',
    run: async (_context, { outDir, slots }) => {
      const paths = await generateKeyFiles(outDir, { slots })
      const { masterKey, signingKey, signingPublicKey, publicKey } = paths
      const rows = [
        ['content key', masterKey],
        ['signing key', signingKey],
        ['public key', signingPublicKey],
        ['slots', paths.slots ?? 'derived'],
      ]
      return {
        data: {
          paths: {
            master_key: masterKey,
            signing_key: signingKey,
            signing_pub: signingPublicKey,
            slots: paths.slots ?? null,
          },
          public_key: hexEncode(publicKey),
        },
        text: formatTable(rows),
      }
    },
  })
}
