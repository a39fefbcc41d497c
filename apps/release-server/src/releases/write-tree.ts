import type { ReleaseView } from '@keyturn/release-client'
import { documentKey, documentRecord, documents } from '../public/documents.ts'
import type { RecordWriter } from '../storage/metadata-store.ts'
import type { StoredSignatures } from './releases.ts'

/** A release with its literal bytes. */
export interface WholeRelease {
  readonly release: ReleaseView
  readonly manifest: Uint8Array
  readonly signatures: StoredSignatures
}

/** Writes the files of one release in the history of its channel. */
export async function writeHistory(
  records: RecordWriter,
  { release, manifest, signatures }: WholeRelease,
): Promise<void> {
  const { product, channel, version } = release
  const at = (name: string): string => documentKey(product, channel, name)
  await documents.put(
    records,
    documentRecord(at(`manifests/${version}.json`), manifest),
    documentRecord(at(`manifests/${version}.sigs.json`), signatures.envelope),
  )
  if (signatures.legacy !== undefined)
    await documents.put(records, documentRecord(at(`manifests/${version}.json.sig`), signatures.legacy))
}

/** Writes the current signatures of a channel. */
export async function writeSignatures(
  records: RecordWriter,
  { product, channel }: ReleaseView,
  { envelope, legacy }: StoredSignatures,
): Promise<void> {
  const at = (name: string): string => documentKey(product, channel, name)
  await documents.put(records, documentRecord(at('manifest.sigs.json'), envelope))
  if (legacy !== undefined) await documents.put(records, documentRecord(at('manifest.json.sig'), legacy))
}

/** Writes the whole public face of a channel; one transaction, so readers never see an intermediate state. */
export async function writeTree(records: RecordWriter, whole: WholeRelease, head: Uint8Array): Promise<void> {
  const { release, manifest, signatures } = whole
  const at = (name: string): string => documentKey(release.product, release.channel, name)
  await writeHistory(records, whole)
  if (signatures.legacy === undefined) await documents.delete(records, at('manifest.json.sig'))
  await writeSignatures(records, release, signatures)
  await documents.put(records, documentRecord(at('manifest.json'), manifest), documentRecord(at('head.json'), head))
}
