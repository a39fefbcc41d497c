import { PrimitivesError, requireBytes, requireText, systemRandom } from '@keyturn/primitives'
import type { RandomSource } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { KEY_BYTES } from './limits.ts'
import type { MasterKeyProvider, WrapContext } from './master-key-provider.ts'
import { unwrapMaster, wrapMaster } from './wrap.ts'

/**
 * A provider around one key-encryption key: what the file, keychain and memory providers share. The bytes are used in
 * place: the caller that gave them wipes them when the provider is no longer used.
 *
 * @param id - Name of the provider in messages.
 * @param kek - 32 bytes, secret.
 */
export function kekProvider(id: string, kek: Uint8Array, random: RandomSource = systemRandom): MasterKeyProvider {
  requireText(id, 'id')
  requireBytes(kek, 'kek')
  if (kek.length !== KEY_BYTES)
    throw new RangeError(`Key-encryption key has ${kek.length} bytes, ${KEY_BYTES} are wanted`)
  const wrap = async (plaintext: Uint8Array, context: WrapContext): Promise<Uint8Array> =>
    wrapMaster(kek, plaintext, context, random)
  const unwrap = async (wrapped: Uint8Array, context: WrapContext): Promise<Uint8Array> => {
    try {
      return unwrapMaster(kek, wrapped, context)
    } catch (cause) {
      if (!(cause instanceof PrimitivesError)) throw cause
      throw new VaultError(
        'VK_KEYRING',
        `The ${id} provider cannot unwrap key version ${context.keyVersion}: it was wrapped elsewhere`,
        { cause },
      )
    }
  }
  return {
    id,
    wrap,
    unwrap,
    async generate(context) {
      const plaintext = random(KEY_BYTES)
      return { plaintext, wrapped: await wrap(plaintext, context) }
    },
    async rewrap(wrapped, context) {
      return wrap(await unwrap(wrapped, context), context)
    },
  }
}
