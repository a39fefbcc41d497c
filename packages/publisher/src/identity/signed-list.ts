// What an identity signed since its last event, so that its next rotation can seal it: a signature stays provable after
// its key was retired only if the log vouches for it. The list is beside the log, in the folder `signed`: `list` has a
// line for each signature, `<sn> <SHA-256>`; `<root>.json` has the digests below a root that a rotation sealed.

import { mkdir, open, readdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hexDecode, hexEncode, isRecord, parseStrictJson, utf8Encode } from '@keyturn/primitives'
import { isMissing, lockFile, syncFolder, writeFileAtomic } from '@keyturn/primitives/node'
import { findSeal, KelError, verifyLog } from '@keyturn/kel'
import { MAX_SEAL_TREE, sealTree, sha256Seal } from '@keyturn/kel/owner'
import type { Kel, Seal, SealProof } from '@keyturn/kel'
import { PublisherError } from '../errors.ts'
import { aliasFlag } from './identity.ts'
import type { Identity } from './identity.ts'

/** Up to this many digests are sealed one by one; more go below one root. */
const MAX_DIRECT_SEALS = 32
/** Signing takes milliseconds; a process that holds the list longer has stopped. */
const LOCK_WAIT_MS = 10_000
const MAX_LOG_BYTES = 64 * 1024 * 1024
const LINE = /^(\d{1,15}) ([0-9a-f]{64})$/
/** Of the shortest line, so that a list of that many bytes never has too many lines. */
const LINE_BYTES = '0 \n'.length + 64
const ROOT_FILE = /^I[A-Za-z0-9_-]{43}\.json$/

type Place = Pick<Identity, 'logPath'>

/** A signature that waits for its seal. */
interface ListedSignature {
  /** Place in the log whose keys signed. */
  readonly sn: number
  /** SHA-256 of what is signed, hex. */
  readonly digest: string
}

/** The folder, beside the log. */
function folderOf({ logPath }: Place): string {
  return join(dirname(logPath), 'signed')
}

async function locked<T>(identity: Place, use: (path: string) => Promise<T>): Promise<T> {
  const folder = folderOf(identity)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const lock = await lockFile(join(folder, 'list.lock'), { waitMs: LOCK_WAIT_MS })
  try {
    return await use(join(folder, 'list'))
  } finally {
    await lock.release()
  }
}

async function readList(path: string): Promise<ListedSignature[]> {
  let text: string
  try {
    text = await readFile(path, 'latin1')
  } catch (cause) {
    if (isMissing(cause)) return []
    throw cause
  }
  const lines = text.split('\n')
  // For a line that a crash cut short, no signature was given out: the list is written first.
  lines.pop()
  return lines.flatMap((line) => {
    const [, sn, digest] = LINE.exec(line) ?? []
    return sn === undefined || digest === undefined ? [] : [{ sn: Number(sn), digest }]
  })
}

async function appendLine(path: string, { sn, digest }: ListedSignature, flag: string): Promise<void> {
  const handle = await open(path, 'a', 0o600)
  try {
    const { size } = await handle.stat()
    if (size > (MAX_SEAL_TREE - 1) * LINE_BYTES)
      throw new KelError('KEL_LIMIT', `More than ${MAX_SEAL_TREE} signatures wait for the rotation that seals them`, {
        hint: `Rotate the identity ("keyturn id rotate${flag}"), or sign with --seal or --unlisted`,
      })
    // Starts a new line, even if a crash cut the last one short.
    await handle.write(`${size === 0 ? '' : '\n'}${sn} ${digest}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await syncFolder(dirname(path))
}

/**
 * Signs something and writes down that the next rotation is to seal it. Rotations and other signatures wait meanwhile.
 *
 * @param make - Signs; refuses while a rotation is unfinished.
 * @returns What `make` signed. The list is on disk before it is returned.
 * @throws {@link KelError} `KEL_LIMIT` when too many wait.
 */
export async function listSigned<T extends ListedSignature>(
  identity: Place & Pick<Identity, 'kind' | 'alias'>,
  make: () => Promise<T>,
): Promise<T> {
  return await locked(identity, async (path) => {
    const signed = await make()
    await appendLine(path, signed, aliasFlag(identity))
    return signed
  })
}

/** How many signatures wait for the next rotation. */
export async function countUnsealed(identity: Place, kel: Kel): Promise<number> {
  const waiting = await readList(join(folderOf(identity), 'list'))
  return waiting.length === 0 ? 0 : (await unsealed(waiting, kel)).length
}

/** Digests that were signed by the keys in force and that no event seals, each once. */
async function unsealed(listed: readonly ListedSignature[], kel: Kel): Promise<Uint8Array[]> {
  const { lastEstablishment } = kel.state
  const log = verifyLog(await kel.export(), { maxBytes: MAX_LOG_BYTES })
  const digests = new Set(listed.flatMap(({ sn, digest }) => (sn >= lastEstablishment.sn ? [digest] : [])))
  return [...digests].map(hexDecode).filter((digest) => findSeal(log, lastEstablishment.sn, digest) === undefined)
}

/**
 * The seals by which the next rotation vouches for everything that was signed since the last one: a seal for each
 * digest, or one root for many. The digests below a root are written down first, since they are what proofs are made
 * of.
 */
export async function sealsOfSigned(identity: Place, kel: Kel): Promise<readonly Seal[]> {
  return await locked(identity, async (path) => {
    const waiting = await readList(path)
    const digests = waiting.length === 0 ? [] : await unsealed(waiting, kel)
    if (digests.length <= MAX_DIRECT_SEALS) return digests.map(sha256Seal)
    // Signatures are refused long before one root is not enough; a list that something else wrote must not stop a
    // rotation.
    const seals: Seal[] = []
    for (let at = 0; at < digests.length; at += MAX_SEAL_TREE)
      seals.push(await keepTree(dirname(path), digests.slice(at, at + MAX_SEAL_TREE)))
    return seals
  })
}

/** Writes down what is below a root: proofs are made of it. */
async function keepTree(folder: string, digests: readonly Uint8Array[]): Promise<Seal> {
  const { seal } = sealTree(digests)
  const record = { format: 'keyturn-sealed', version: 1, digests: digests.map(hexEncode) }
  await writeFileAtomic(join(folder, `${seal.rd}.json`), utf8Encode(`${JSON.stringify(record)}\n`), { mode: 0o600 })
  return seal
}

/**
 * Takes from the list what the rotation at a place has sealed.
 *
 * @param sn - Sequence number of the rotation.
 */
export async function dropSealed(identity: Place, sn: number): Promise<void> {
  await locked(identity, async (path) => {
    const listed = await readList(path)
    const kept = listed.filter((one) => one.sn >= sn)
    if (kept.length === listed.length) return
    const text = kept.map((one) => `${one.sn} ${one.digest}\n`).join('')
    await writeFileAtomic(path, utf8Encode(text), { mode: 0o600 })
  })
}

/**
 * The proofs that a digest is below roots that rotations sealed.
 *
 * @throws {@link PublisherError} `CLI_HOME_FORMAT` when a file with digests is damaged.
 */
export async function sealProofs(identity: Place, digest: Uint8Array): Promise<readonly SealProof[]> {
  const folder = folderOf(identity)
  const names = await readdir(folder).catch((error: unknown): string[] => {
    if (isMissing(error)) return []
    throw error
  })
  const proofs: SealProof[] = []
  for (const name of names.filter((file) => ROOT_FILE.test(file))) {
    const proof = (await readTree(join(folder, name), name)).prove(digest)
    if (proof !== undefined) proofs.push(proof)
  }
  return proofs
}

async function readTree(path: string, name: string): Promise<ReturnType<typeof sealTree>> {
  const value: unknown = parseStrictJson(await readFile(path), { maxBytes: 16 * 1024 * 1024 })
  const digests = isRecord(value) && value['format'] === 'keyturn-sealed' ? value['digests'] : undefined
  if (Array.isArray(digests) && digests.every((text) => typeof text === 'string' && /^[0-9a-f]{64}$/.test(text))) {
    const tree = sealTree((digests as string[]).map(hexDecode))
    if (`${tree.seal.rd}.json` === name) return tree
  }
  throw new PublisherError('CLI_HOME_FORMAT', `"${path}" does not hold the digests that it is named for`, {
    hint: 'Bring it back from a backup: signatures that this root sealed can be proved with it alone',
  })
}
