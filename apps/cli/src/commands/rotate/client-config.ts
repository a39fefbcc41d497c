import { relative } from 'node:path'
import { exportClientConfig } from '@keyturn/m2pack-format'
import { hexDecode, utf8Encode } from '@keyturn/primitives'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { activeContentKey } from '@keyturn/publisher'
import type { HomeSession } from '@keyturn/publisher'
import { findProject } from '@keyturn/publisher/release'

/**
 * Writes the public keys for the client where the project of the current folder asks for it, after a rotation: the next
 * build of the client knows the new one.
 *
 * @param home - Open home.
 * @returns What was done, for people; undefined when no project asks.
 */
export async function writeClientConfig({ description }: HomeSession): Promise<string | undefined> {
  const project = await findProject(process.cwd())
  const file = project?.clientConfig
  if (project === undefined || file === undefined) return undefined
  if (project.product !== undefined && project.product !== description.product) return undefined
  const verifiers = new Map(
    description.contentKeys
      .filter(({ status }) => status !== 'revoked')
      .map(({ keyId, verifierPub }) => [keyId, hexDecode(verifierPub)] as const),
  )
  const { keyId: defaultKeyId } = activeContentKey(description)
  const text = exportClientConfig(verifiers, { language: file.endsWith('.ts') ? 'ts' : 'cpp', defaultKeyId })
  await writeFileAtomic(file, utf8Encode(text))
  return `${relative(process.cwd(), file)} has the public keys for the next build of the client.`
}
