import { mkdir, readFile, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { hexEncode, parseStrictJson, sha256, utf8Encode } from '@keyturn/primitives'
import { pathExists, writeFileAtomic } from '@keyturn/primitives/node'
import { KelError, parseDidKey, verifyLog, verifyStatement } from '@keyturn/kel'
import { signStatement } from '@keyturn/kel/owner'
import type { Kel } from '@keyturn/kel'
import type { Signer } from '@keyturn/kel/owner'
import type { Identity } from './identity.ts'

/** What an identity says about a device. */
interface DeviceDocument {
  readonly did: string
  readonly name: string
  readonly status: 'linked' | 'revoked'
  readonly at: string
  readonly note: string
}

/** The state of a device: linked, revoked, or void because a rotation came after the link. */
export interface Device {
  readonly did: string
  readonly name: string
  readonly status: 'linked' | 'revoked' | 'void'
  readonly linkedAt: string
  readonly note: string
  /** Sequence number at which the attestation was signed. */
  readonly sn: number
}

function folderOf(identity: Pick<Identity, 'logPath'>): string {
  return join(dirname(identity.logPath), 'devices')
}

/** Files are named by the digest of the DID: it holds characters that file systems dislike. */
function pathsOf(identity: Pick<Identity, 'logPath'>, did: string): { document: string; signature: string } {
  const base = join(folderOf(identity), hexEncode(sha256(utf8Encode(did))).slice(0, 32))
  return { document: `${base}.json`, signature: `${base}.json.sig` }
}

function parseDocument(bytes: Uint8Array): DeviceDocument {
  const { type, schema, did, name, status, at, note } = parseStrictJson(bytes, { maxBytes: 64 * 1024 }) as Record<
    string,
    unknown
  >
  if (
    type !== 'keyturn.device' ||
    schema !== 1 ||
    typeof did !== 'string' ||
    typeof name !== 'string' ||
    typeof at !== 'string' ||
    typeof note !== 'string' ||
    (status !== 'linked' && status !== 'revoked')
  ) {
    throw new KelError('KEL_ATTESTATION', 'Device document is malformed')
  }
  return { did, name, status, at, note }
}

/** The identity that speaks, with its log and its current key. */
export interface AttestingIdentity {
  readonly identity: Identity
  readonly kel: Kel
  readonly signer: Signer
}

/**
 * Writes and signs what the identity says about a device: a statement of purpose `device` over the device document.
 *
 * @throws {@link KelError} `KEL_PIN` when the DID is no `did:key`.
 */
export async function attestDevice(
  { identity, kel, signer }: AttestingIdentity,
  document: DeviceDocument,
  nowMs: number,
): Promise<{ document: string; signature: string }> {
  parseDidKey(document.did)
  const bytes = utf8Encode(
    `${JSON.stringify({ type: 'keyturn.device', schema: 1, identity: identity.prefix, ...document }, null, 2)}\n`,
  )
  const envelope = await signStatement(
    kel.state,
    { purpose: 'device', sha256: sha256(bytes), name: document.name, claimedAtMs: nowMs },
    signer,
  )
  const paths = pathsOf(identity, document.did)
  await mkdir(folderOf(identity), { recursive: true, mode: 0o700 })
  // Signature first: a document without one that fits is not believed, so a crash in between changes nothing.
  await writeFileAtomic(paths.signature, envelope)
  await writeFileAtomic(paths.document, bytes)
  return paths
}

/** Every device with its state, each attestation verified against the log. */
export async function listDevices(
  identity: Pick<Identity, 'logPath' | 'prefix'>,
  kel: Kel,
): Promise<readonly Device[]> {
  const folder = folderOf(identity)
  if (!(await pathExists(folder))) return []
  const log = verifyLog(await kel.export(), { maxBytes: 64 * 1024 * 1024 })
  const devices: Device[] = []
  for (const name of (await readdir(folder)).filter((entry) => entry.endsWith('.json')).sort()) {
    const bytes = await readFile(join(folder, name))
    const document = parseDocument(bytes)
    const verified = verifyStatement(await readFile(join(folder, `${name}.sig`)), sha256(bytes), log, {
      purpose: 'device',
      allowUnproven: true,
    })
    // A rotation makes every link void: anyone who had the old key could have made it.
    const status = document.status === 'revoked' ? 'revoked' : verified.retiredBy === undefined ? 'linked' : 'void'
    devices.push({
      did: document.did,
      name: document.name,
      status,
      linkedAt: document.at,
      note: document.note,
      sn: verified.statement.sn,
    })
  }
  return devices
}
