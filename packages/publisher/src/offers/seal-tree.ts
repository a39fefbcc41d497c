import { lstat, mkdir, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { buildFolder, Crew, extractArchive } from '@keyturn/m2pack-format/node'
import type { ArchiveFile } from '@keyturn/m2pack-format/node'
import { hexDecode } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import { keyAlias } from '../home.ts'
import type { SealedKey } from '../home.ts'
import type { HomeSession } from '../home-session.ts'
import { segmentCuts } from '../tree/archive-facts.ts'
import { archiveKeyId, contentKeyOf, formatOf, openOwnArchive, openSealedArchive } from '../tree/archives.ts'
import { runtimeKeyFile, writeRuntimeKeyFile } from '../records/runtime-key-file.ts'
import { asContentKey } from '../records/sealed.ts'
import { copyTreeFile } from '../tree/tree.ts'

/** What a sealed tree is made from. */
export interface SealTreePlan {
  /** Release tree of the draft, under the keys in force. */
  readonly from: string
  /** Tree of what players have now; undefined when it is gone: then everything is packed again. */
  readonly offered: string | undefined
  /** New folder. */
  readonly to: string
  readonly key: SealedKey
  readonly signal: AbortSignal
}

/**
 * Packs a release tree again under a key that nobody has: what players have already keeps its bytes, everything new is
 * under a fresh slot, and tables are sealed.
 *
 * @param home - Open home; its keystore holds the secrets of the key.
 * @returns Where chunks of each archive may be cut by force, by path.
 */
export async function sealTree(home: HomeSession, plan: SealTreePlan): Promise<Map<string, number[]>> {
  await rm(plan.to, { recursive: true, force: true })
  const cuts = new Map<string, number[]>()
  const crew = new Crew()
  try {
    for (const entry of await readdir(plan.from, { withFileTypes: true, recursive: true })) {
      plan.signal.throwIfAborted()
      if (!entry.isFile()) continue
      const source = join(entry.parentPath, entry.name)
      const path = source.slice(plan.from.length + 1)
      const name = path.replaceAll('\\', '/')
      const target = join(plan.to, path)
      await mkdir(dirname(target), { recursive: true })
      if (entry.name.endsWith('.m2p')) cuts.set(name, await sealArchive(home, { ...plan, crew }, path))
      else if (path !== runtimeKeyFile) {
        const executable = ((await lstat(source)).mode & 0o111) !== 0
        await copyTreeFile({ source, path: name, executable }, target)
      }
    }
  } finally {
    await crew.close()
  }
  if (await pathExists(join(plan.from, runtimeKeyFile)))
    await writeRuntimeKeyFile(home, plan.to, asContentKey(plan.key))
  return cuts
}

/** The plain files are in the home for a while, as in a full rotation. */
async function sealArchive(
  home: HomeSession,
  { from, offered, to, key, signal, crew }: SealTreePlan & { readonly crew: Crew },
  path: string,
): Promise<number[]> {
  const [source, target] = [join(from, path), join(to, path)]
  const plain = `${target}.plain`
  const keys = await home.keys()
  const previous = await openOffered(home, offered, path)
  try {
    const keyId = await archiveKeyId(source)
    const format = await formatOf(source)
    const verifiers = new Map([[keyId, hexDecode(contentKeyOf(home.description, keyId).verifierPub)]])
    await keys.lend(keyAlias.content(keyId), (secret) =>
      extractArchive(source, plain, { verifiers, contentKey: { keyId, key: secret }, crew, signal }),
    )
    const aliases = [keyAlias.content(key.keyId), home.description.aliases.archiveSigning, keyAlias.slot(key.slot)]
    await keys.lendAll(aliases, async ([secret, seed, slot]) => {
      await buildFolder(plain, target, {
        ...format,
        contentKey: { keyId: key.keyId, key: secret as Uint8Array },
        signingSeed: seed as Uint8Array,
        slots: new Map([[key.slot, slot as Uint8Array]]),
        previous: previous?.archive,
        sealTable: true,
        crew,
        signal,
      })
    })
    return await knownCuts(home, target, key)
  } finally {
    await previous?.close()
    await rm(plain, { recursive: true, force: true })
  }
}

async function openOffered(
  home: HomeSession,
  offered: string | undefined,
  path: string,
): Promise<ArchiveFile | undefined> {
  const file = offered === undefined ? undefined : join(offered, path)
  return file === undefined || !(await pathExists(file)) ? undefined : await openOwnArchive(home, file)
}

/** Only pieces that players have already: the others must not be told apart before the time. */
async function knownCuts(home: HomeSession, file: string, key: SealedKey): Promise<number[]> {
  const opened = await openSealedArchive(home, file, key)
  try {
    return segmentCuts(opened.archive, (number) => number !== key.slot)
  } finally {
    await opened.close()
  }
}
