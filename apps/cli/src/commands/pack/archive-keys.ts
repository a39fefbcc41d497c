import type { ContentKey, Verifiers } from '@keyturn/m2pack-format'
import { withArchiveFile } from '@keyturn/m2pack-format/node'
import { equalBytes, hexDecode, printable, wipe } from '@keyturn/primitives'
import type { Context } from '../../command.ts'
import { CliError } from '../../errors.ts'
import { keyAlias, PublisherError, readHome } from '@keyturn/publisher'
import type { HomeContentKey } from '@keyturn/publisher'
import { archiveKeyId, contentKey, keyIdFlag, verifiersFor } from './flags.ts'

/** Flags that say which keys an archive is read with; what they leave out the home may know. */
export interface ArchiveKeyFlags {
  readonly archive: string
  readonly publicKey?: string | undefined
  readonly key?: string | undefined
  readonly keyId?: string | undefined
}

/** Where the verifier of an archive was found. */
export interface FoundVerifier {
  readonly verifiers: Verifiers
  readonly keyId: number
  readonly from: 'flag' | 'home'
}

/**
 * The verifier of an archive: that of the flag, else the home's own when the archive was made there.
 *
 * @returns `undefined` when neither knows it.
 */
export async function findVerifier(context: Context, flags: ArchiveKeyFlags): Promise<FoundVerifier | undefined> {
  if (flags.publicKey !== undefined) {
    const keyId = flags.keyId === undefined ? await archiveKeyId(flags.archive) : keyIdFlag(flags.keyId)
    return { verifiers: await verifiersFor(flags.archive, flags.publicKey, flags.keyId), keyId, from: 'flag' }
  }
  const known = await homeKeyOf(context, flags.archive)
  if (known === undefined) return undefined
  return { verifiers: new Map([[known.keyId, hexDecode(known.verifierPub)]]), keyId: known.keyId, from: 'home' }
}

/** As {@link findVerifier}, for commands that trust nothing without one. */
export async function requireVerifier(context: Context, flags: ArchiveKeyFlags): Promise<FoundVerifier> {
  const found = await findVerifier(context, flags)
  if (found !== undefined) return found
  throw new CliError(
    'CLI_USAGE',
    `Who made "${printable(flags.archive)}"? It is not of a content key of ${printable(context.homeFolder)}`,
    {
      hint: 'Give --public-key, or --home with the folder that made it',
    },
  )
}

/**
 * The content key of an archive: that of the flag, else the home's own. Wiped when the command is over.
 *
 * @returns `undefined` when there is no flag for it and the verifier is one: whose key that is the home cannot know.
 */
export async function findContentKey(
  context: Context,
  flags: ArchiveKeyFlags,
  { keyId, from }: FoundVerifier,
): Promise<ContentKey | undefined> {
  if (flags.key !== undefined) return await contentKey(context, flags.key, keyId)
  if (from === 'flag') return undefined
  const { openHome } = await import('@keyturn/publisher')
  const keys = await (await openHome(context)).keys()
  const key = await keys.lend(keyAlias.content(keyId), (secret) => secret.slice())
  context.defer(() => wipe(key))
  return { keyId, key }
}

/**
 * The home's record of the key that an archive says it is under: by its number and its commitment, so that strangers'
 * archives with the same number are told apart.
 */
async function homeKeyOf(context: Context, archive: string): Promise<HomeContentKey | undefined> {
  const home = await readHome(context.homeFolder).catch((error: unknown) => {
    if (error instanceof PublisherError && error.code === 'CLI_HOME_MISSING') return undefined
    throw error
  })
  if (home === undefined) return undefined
  const { keyId, keyCommitment } = await withArchiveFile(archive, { verifiers: 'unchecked' }, (open) => ({
    keyId: open.keyId,
    keyCommitment: open.keyCommitment.slice(),
  }))
  const sealed = (home.sealedKeys ?? []).map((key): HomeContentKey => ({
    keyId: key.keyId,
    verifierPub: key.verifierPub,
    commitment: key.commitment,
    created: key.created,
    status: 'active',
  }))
  return [...home.contentKeys, ...sealed].find(
    (known) => known.keyId === keyId && equalBytes(hexDecode(known.commitment), keyCommitment),
  )
}
