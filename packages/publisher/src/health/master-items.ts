import { join } from 'node:path'
import { isRecord, parseStrictJson, Reader } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { pathExists } from '@keyturn/primitives/node'
import type { HomeSession } from '../home-session.ts'
import { readIfThere } from '../records/store.ts'
import { keyDue } from './due.ts'
import { statusItem } from './status-item.ts'
import type { StatusItem } from './status-item.ts'

/** One master key as its keyring says; nothing of it is proved without the passphrase. */
interface Master {
  readonly version: number
  readonly state: string
  readonly sinceMs: number
}

const MAX_HEADER_BYTES = 4 * 1024 * 1024

/**
 * The masters under which the home's own secrets are sealed: of its keystores and of its vault, as their files say in
 * the clear. A file that is not there, or that another process has open, is left out.
 *
 * @param home - Open home.
 * @param nowMs - Now.
 */
export async function masterItems(home: HomeSession, nowMs: number): Promise<StatusItem[]> {
  const all: [string, readonly Master[]][] = [
    ['keystore', await keystoreMasters(home.paths.keystore)],
    ['next-key', await keystoreMasters(home.nextKeyFile)],
    ['vault', await vaultMasters(join(home.paths.folder, 'vault'))],
  ]
  return all.flatMap(([id, masters]) => {
    const active = masters.findLast(({ state }) => state === 'active')
    if (active === undefined) return []
    return [
      statusItem(
        {
          kind: 'master',
          id,
          name: `version ${active.version}`,
          sinceMs: active.sinceMs,
          due: keyDue('vault', active.sinceMs, home.description, nowMs),
          mend: 'keyturn rotate vault',
        },
        nowMs,
      ),
    ]
  })
}

/** docs/spec/keystore.md §2: magic, version, header length, header. What does not read is the doctor's to tell. */
async function keystoreMasters(path: string): Promise<readonly Master[]> {
  const bytes = await readIfThere(path)
  if (bytes === undefined || bytes.length < 12) return []
  try {
    const reader = new Reader(bytes)
    reader.bytes(8, 'magic')
    const header = parseStrictJson(reader.bytes(reader.u32be('header length', { max: MAX_HEADER_BYTES }), 'header'), {
      maxBytes: MAX_HEADER_BYTES,
    })
    return isRecord(header) && isRecord(header['keyring']) ? mastersOf(header['keyring']['entries']) : []
  } catch {
    return []
  }
}

async function vaultMasters(folder: string): Promise<readonly Master[]> {
  if (!(await pathExists(join(folder, 'segment-00000001.log')))) return []
  // Loaded here: homes without a vault answer faster without it.
  const [{ FolderStore }, { parseKeyringDocument }] = await Promise.all([
    import('@keyturn/vault-kdf/node'),
    import('@keyturn/vault-kdf/keyring'),
  ])
  const store = await FolderStore.open(folder).catch(() => undefined)
  try {
    const stored = await store?.readDocument('keyring')
    if (stored === undefined) return []
    return parseKeyringDocument(stored.bytes).document.entries.map(({ version, state, history }) => ({
      version,
      state,
      sinceMs: history.findLast((step) => step.state === 'active')?.at ?? 0,
    }))
  } finally {
    await store?.close()
  }
}

function mastersOf(entries: JsonValue | undefined): Master[] {
  if (!Array.isArray(entries)) return []
  return entries
    .filter((entry) => isRecord(entry))
    .map(({ version, state, history }) => {
      const steps = Array.isArray(history) ? history.filter((step) => isRecord(step)) : []
      return {
        version: Number(version),
        state: String(state),
        sinceMs: Number(steps.findLast((step) => step['state'] === 'active')?.['at'] ?? 0),
      }
    })
}
