import { isMissing, nodeFileSystem, systemErrorCode } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { VaultError } from '../errors.ts'
import { MAX_POLICY_BYTES, parseVaultPolicy } from '../policy.ts'
import type { VaultPolicy } from '../policy.ts'

/**
 * Reads a policy file; see `parseVaultPolicy`.
 *
 * @returns `undefined` when the file does not exist.
 * @throws VaultError `VK_POLICY_FORM`, `VK_STORE_IO`.
 */
export async function readVaultPolicy(
  path: string,
  { fs = nodeFileSystem }: { readonly fs?: FileSystem | undefined } = {},
): Promise<VaultPolicy | undefined> {
  try {
    if ((await fs.stat(path)).size > MAX_POLICY_BYTES)
      throw new VaultError('VK_POLICY_FORM', `The policy file "${path}" has over ${MAX_POLICY_BYTES} bytes`)
    return parseVaultPolicy(await fs.readFile(path))
  } catch (cause) {
    if (isMissing(cause)) return undefined
    if (cause instanceof VaultError || systemErrorCode(cause) === undefined) throw cause
    throw new VaultError('VK_STORE_IO', `The policy file "${path}" cannot be read`, { cause })
  }
}
