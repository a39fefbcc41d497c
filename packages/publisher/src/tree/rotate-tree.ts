import { lstat, mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { buildFolder, Crew, extractArchive, rewrapFile } from '@keyturn/m2pack-format/node'
import { hexDecode } from '@keyturn/primitives'
import { keyAlias } from '../home.ts'
import { archiveKeyId, contentKeyOf, formatOf } from './archives.ts'
import type { HomeSession } from '../home-session.ts'
import { copyTreeFile } from './tree.ts'

/** Which keys a rotated tree gets. */
export interface TreeKeys {
  /** The new content key. */
  readonly keyId: number
  /** The new slot. */
  readonly slot: number
  /** Encrypt every file again under the new slot; else payloads stay as they are. */
  readonly full: boolean
  /** Stops between two archives. */
  readonly signal: AbortSignal
}

/** What a rotated tree holds. */
export interface RotatedTree {
  readonly archives: number
  readonly bytes: number
}

/**
 * Rotates the content key of every archive of a release tree; other files are copied.
 *
 * @param home - Open home; it must hold both keys.
 * @param from - Release tree in force.
 * @param to - New folder.
 * @param change - Which keys.
 */
export async function rotateTree(home: HomeSession, from: string, to: string, change: TreeKeys): Promise<RotatedTree> {
  let archives = 0
  let bytes = 0
  // Only packing everything again is worth threads; all archives share them.
  const crew = change.full ? new Crew() : undefined
  try {
    for (const entry of await readdir(from, { withFileTypes: true, recursive: true })) {
      change.signal.throwIfAborted()
      if (!entry.isFile()) continue
      const source = join(entry.parentPath, entry.name)
      const path = source.slice(from.length + 1)
      const target = join(to, path)
      if (!entry.name.endsWith('.m2p')) {
        const executable = ((await lstat(source)).mode & 0o111) !== 0
        await copyTreeFile({ source, path: path.split(sep).join('/'), executable }, target)
        continue
      }
      await mkdir(dirname(target), { recursive: true })
      bytes +=
        crew === undefined
          ? await rewrap(home, source, target, change)
          : await rebuild(home, source, target, { ...change, crew })
      archives += 1
    }
  } finally {
    await crew?.close()
  }
  return { archives, bytes }
}

/** Payloads stay, byte for byte: header, slots and signature are new. */
async function rewrap(home: HomeSession, source: string, target: string, { keyId, signal }: TreeKeys): Promise<number> {
  const keys = await home.keys()
  const old = await oldKey(home, source)
  const aliases = [keyAlias.content(old.keyId), keyAlias.content(keyId), home.description.aliases.archiveSigning]
  const { archiveBytes } = await keys.lendAll(
    aliases,
    async ([key, newKey, seed]) =>
      await rewrapFile(source, target, {
        open: { verifiers: old.verifiers, contentKey: { keyId: old.keyId, key: key as Uint8Array } },
        contentKey: { keyId, key: newKey as Uint8Array },
        signingSeed: seed as Uint8Array,
        overwrite: true,
        signal,
      }),
  )
  return archiveBytes
}

/**
 * Everything under the new slot alone: anyone who kept old slots opens nothing of it. The plain files are in the home
 * for a while.
 */
async function rebuild(
  home: HomeSession,
  source: string,
  target: string,
  { keyId, slot, signal, crew }: TreeKeys & { readonly crew: Crew },
): Promise<number> {
  const keys = await home.keys()
  const old = await oldKey(home, source)
  const plain = `${target}.plain`
  await rm(plain, { recursive: true, force: true })
  try {
    const format = await formatOf(source)
    await keys.lend(keyAlias.content(old.keyId), (key) =>
      extractArchive(source, plain, {
        verifiers: old.verifiers,
        contentKey: { keyId: old.keyId, key },
        crew,
        signal,
      }),
    )
    const aliases = [keyAlias.content(keyId), home.description.aliases.archiveSigning, keyAlias.slot(slot)]
    const { archiveBytes } = await keys.lendAll(
      aliases,
      async ([key, seed, secret]) =>
        await buildFolder(plain, target, {
          ...format,
          contentKey: { keyId, key: key as Uint8Array },
          signingSeed: seed as Uint8Array,
          slots: new Map([[slot, secret as Uint8Array]]),
          crew,
          signal,
        }),
    )
    return archiveBytes
  } finally {
    await rm(plain, { recursive: true, force: true })
  }
}

async function oldKey(
  home: HomeSession,
  source: string,
): Promise<{ keyId: number; verifiers: Map<number, Uint8Array> }> {
  const keyId = await archiveKeyId(source)
  return { keyId, verifiers: new Map([[keyId, hexDecode(contentKeyOf(home.description, keyId).verifierPub)]]) }
}
