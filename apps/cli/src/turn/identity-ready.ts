import { nextDigestOf, type VerifiedLog } from '@keyturn/kel'
import { hexEncode, type JsonObject } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { CliError } from '../errors.ts'
import type { HomeSession } from '../publisher/home-session.ts'
import { readIdentityLog } from '../publisher/store.ts'
import { readTurn } from './journal.ts'

/**
 * Checks before a turn of the identity begins or goes on that both keystores open and that the file with the next key
 * holds the key which the log promises. Writes nothing.
 *
 * @param home - Open home; asks for the passphrases.
 * @throws {@link CliError} `CLI_TURN_UNREADY`; KeystoreError `KEY_PASSPHRASE`, which names the file.
 */
export async function checkIdentityTurn(home: HomeSession): Promise<void> {
  const { identity } = home.description
  const { log } = await readIdentityLog(home.paths, identity.prefix)
  if (log.state.nextDigests.length === 0) throw new CliError('CLI_TURN_UNREADY', 'This identity promised no next key: it cannot turn')
  const pending = await readTurn(home.paths.journals, 'identity')
  await home.keys()
  // From here on an interrupted turn signs and publishes: the next key may be on its own medium already.
  if (pending?.done.includes('home') === true) return
  if (!await pathExists(home.nextKeyFile)) {
    throw new CliError('CLI_TURN_UNREADY', `The file with the next identity key is not at "${home.nextKeyFile}"`, { hint: 'Bring it back, or name it with --next-key-file' })
  }
  const facts = pending?.facts ?? {}
  await checkPromised(home, log, facts)
  if (facts['next_public'] !== undefined) await checkHolds(home, String(facts['next']), String(facts['next_public']))
}

/** Before the rotation the file holds the key that comes into force, after it the one that follows; the log promises it. */
async function checkPromised(home: HomeSession, log: VerifiedLog, facts: JsonObject): Promise<void> {
  const isAppended = typeof facts['sn'] === 'number' && log.state.sn >= facts['sn']
  const alias = String((isAppended ? facts['next'] : facts['identity']) ?? home.description.identity.nextAlias)
  const nextKeys = await home.nextKeys()
  if (!nextKeys.has(alias) || !log.state.nextDigests.includes(nextDigestOf(await nextKeys.publicKey(alias)))) throw wrongFile(home, alias)
}

async function checkHolds(home: HomeSession, alias: string, publicKey: string): Promise<void> {
  const nextKeys = await home.nextKeys()
  if (!nextKeys.has(alias) || hexEncode(await nextKeys.publicKey(alias)) !== publicKey) throw wrongFile(home, alias)
}

function wrongFile(home: HomeSession, alias: string): CliError {
  return new CliError('CLI_TURN_UNREADY', `"${home.nextKeyFile}" does not hold the promised next key ${alias}`, {
    hint: 'Nothing was changed: this is another file or an old copy; give the right one with --next-key-file',
  })
}
