import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseSnapshot, parseStatement, parseStatementEnvelope, verifyLog } from '@keyturn/kel'
import { Keystore, memoryStorage } from '@keyturn/keystore'
import { createEngine } from '@keyturn/install-engine'
import { memorySource, readArchiveHeader } from '@keyturn/m2pack-format'
import { formatOf, parseHead, parseHeadEnvelope, parseManifest, parseRoles, parseTrustRoot } from '@keyturn/manifest'
import { parseChunkIndex } from '@keyturn/manifest/delta'
import { parseKeyRecord } from '@keyturn/noise-keys'
import { parseMetadata, parseSigningRequest } from '@keyturn/noise-keys/owner'
import { KeyFloors } from '@keyturn/noise-keys/reader'
import { hexDecode, utf8Decode, utf8Encode } from '@keyturn/primitives'
import { parseExchangeRequest, parseRuntimeKeyBlob, parseRuntimeKeyJson } from '@keyturn/runtime-key'
import { parseKeyringDocument } from '@keyturn/vault-kdf/keyring'
import { expect, it } from 'vitest'
import { World } from '../world.ts'

// docs/compatibility.md, the column "another version": a version that does not exist yet is refused by name.
const root = join(import.meta.dirname, '../../..')
const golden = async (file: string): Promise<Uint8Array> => new Uint8Array(await readFile(join(root, file)))

/** The same text with one part replaced; fails when that part is missing. */
function replaced(bytes: Uint8Array, what: string | RegExp, by: string): Uint8Array {
  const text = utf8Decode(bytes)
  const changed = text.replace(what, by)
  if (changed === text) throw new Error(`The file has no ${String(what)}`)
  return utf8Encode(changed)
}

/** The same bytes with one byte changed. */
const withByte = (bytes: Uint8Array, at: number, byte: number): Uint8Array =>
  bytes.map((old, index) => (index === at ? byte : old))

const MANIFEST = 'packages/manifest/test/golden/1'
const NOISE = 'packages/noise-keys/test/golden/v1'
const RUNTIME = 'packages/runtime-key/test/golden/v1'
/** Any pin will do: the journal is looked at before anything is trusted. */
const PIN =
  'did:keri:EL7hpl7P7N_6rBg23Y9-hF5dZt9sQHjav9OvW9E6cBeU?sn=0&said=EL7hpl7P7N_6rBg23Y9-hF5dZt9sQHjav9OvW9E6cBeU'
const hexFile = async (file: string): Promise<Uint8Array> => hexDecode(utf8Decode(await golden(file)).trim())

const next: Readonly<Record<string, { readonly code: string; open(): Promise<unknown> }>> = {
  'archive 3': {
    code: 'M2P_VERSION',
    open: async () =>
      readArchiveHeader(memorySource(withByte(await golden('packages/m2pack-format/test/golden/v1.m2p'), 8, 3))),
  },
  'manifest of schema 3': {
    code: 'MAN_SCHEMA',
    open: async () => parseManifest(replaced(await golden(`${MANIFEST}/manifest.json`), '"schema": 2', '"schema": 3')),
  },
  'manifest of another format': {
    code: 'MAN_UNKNOWN_FORMAT',
    open: async () =>
      formatOf(
        parseManifest(replaced(await golden(`${MANIFEST}/manifest.json`), '"format": "m2pack"', '"format": "m2pack9"')),
      ),
  },
  'role document of schema 2': {
    code: 'TRUST_ROLES',
    open: async () => parseRoles(replaced(await golden(`${MANIFEST}/roles-1.json`), '"schema": 1', '"schema": 2')),
  },
  'head of schema 2': {
    code: 'MAN_SCHEMA',
    open: async () =>
      parseHead(
        replaced(parseHeadEnvelope(await golden(`${MANIFEST}/head.json`)).payload, /"schema": ?1/, '"schema":2'),
      ),
  },
  'head of another type': {
    code: 'MAN_TYPE',
    open: async () =>
      parseHeadEnvelope(replaced(await golden(`${MANIFEST}/head.json`), 'keyturn.head', 'keyturn.head2')),
  },
  'chunk index 2': {
    code: 'MAN_INDEX',
    open: async () => parseChunkIndex(withByte(await golden(`${MANIFEST}/index.m2ix`), 4, 2)),
  },
  'pin of another scheme': {
    code: 'TRUST_INVALID',
    open: async () =>
      parseTrustRoot(utf8Decode(replaced(await golden(`${MANIFEST}/pin.txt`), 'did:keri:', 'did:kery:')).trim()),
  },
  'KERI 2 log': {
    code: 'KEL_VERSION',
    open: async () =>
      verifyLog(replaced(await golden('packages/kel/test/golden/log.cesr'), 'KERI10JSON', 'KERI20JSON')),
  },
  'statement of schema 2': {
    code: 'KEL_STATEMENT',
    open: async () =>
      parseStatement(
        replaced(
          parseStatementEnvelope(await golden('packages/kel/test/golden/statement-1.sig')).payload,
          '"schema":1',
          '"schema":2',
        ),
      ),
  },
  'key state snapshot 2': {
    code: 'KEL_CORRUPT',
    open: async () =>
      parseSnapshot(replaced(await golden('packages/kel/test/golden/snapshot-1.json'), /"version": ?1/, '"version":2')),
  },
  'runtime key file 2': {
    code: 'RK_FIELD',
    open: async () =>
      parseRuntimeKeyJson(replaced(await golden(`${RUNTIME}/superset.json`), '"version": 1', '"version": 2')),
  },
  'runtime key blob 2': {
    code: 'RK_BLOB',
    open: async () => parseRuntimeKeyBlob(withByte(await hexFile(`${RUNTIME}/blob.hex`), 8, 2)),
  },
  'runtime key exchange 2': {
    code: 'RK_MESSAGE',
    open: async () =>
      parseExchangeRequest(
        new Uint8Array([...withByte(await hexFile(`${RUNTIME}/exchange-header.hex`), 0, 2), ...new Uint8Array(85)]),
      ),
  },
  'key record 2': {
    code: 'NK_RECORD',
    open: async () => parseKeyRecord(utf8Decode(replaced(await golden(`${NOISE}/record-active.txt`), 'v=1;', 'v=2;'))),
  },
  'signing request 2': {
    code: 'NK_REQUEST',
    open: async () =>
      parseSigningRequest(replaced(await golden(`${NOISE}/signing-request.json`), '"version": 1', '"version": 2')),
  },
  'transport metadata 3': {
    code: 'NK_METADATA',
    open: async () => parseMetadata(replaced(await golden(`${NOISE}/metadata.json`), '"version": 2', '"version": 3')),
  },
  'transport floors 2': {
    code: 'NK_METADATA',
    open: async () => KeyFloors.parse(replaced(await golden(`${NOISE}/floors.json`), '"version": 1', '"version": 2')),
  },
  'keystore 2': {
    code: 'KEY_FORMAT',
    open: async () =>
      Keystore.open(
        memoryStorage({ current: withByte(await golden('packages/keystore/test/golden/keystore-1.bin'), 7, 2) }),
        'golden passphrase e\u0301',
      ),
  },
  'keyring 2': { code: 'VK_KEYRING', open: async () => parseKeyringDocument(utf8Encode('{"format":"hxv-keyring-2"}')) },
}

it.each(Object.entries(next))('%s is refused by name', async (_name, { code, open }) => {
  await expect(open()).rejects.toMatchObject({ code })
})

it('home 2 is refused by name, and a journal of an install 3 is set aside before everything is verified again', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-versions-'))
  try {
    const world = await World.open(folder, Date.parse('2026-11-21T00:00:00Z'))
    await world.keyturn('init', '--product', world.product)
    const home = world.path('home/home.json')
    await writeFile(home, replaced(new Uint8Array(await readFile(home)), '"version": 1', '"version": 2'))
    await expect(world.keyturn('status')).rejects.toThrow('CLI_HOME_FORMAT')

    const journal = replaced(
      await golden('tooling/compatibility/states/0.1.0-early/interrupted/.updates/txn.json'),
      '"schema":1',
      '"schema":3',
    )
    await mkdir(world.path('install/.updates'), { recursive: true, mode: 0o700 })
    await writeFile(world.path('install/.updates/txn.json'), journal)
    const told: string[] = []
    const engine = createEngine({
      folder: world.path('install'),
      server: 'http://127.0.0.1:9/',
      trust: PIN,
      clock: world.clock,
      logFile: false,
      retry: { tries: 1, firstPauseMs: 1, longestPauseMs: 1 },
      onEvent: (event) => {
        if (event.type === 'notice') told.push(event.code)
      },
    })
    await expect(engine.update()).rejects.toMatchObject({ code: 'LA_NETWORK' })
    expect(told).toContain('LA_JOURNAL')
    expect(new Uint8Array(await readFile(world.path('install/.updates/txn.json.bad')))).toEqual(journal)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
