import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { KMSClient } from '@aws-sdk/client-kms'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MemoryStore, Vault } from '../src/index.ts'
import type { MasterKeyProvider } from '../src/index.ts'

/** The adapters, as the guide prints them. */
interface Adapters {
  awsKms(client: KMSClient, keyId: string): MasterKeyProvider
  gcpKms(key: string, token: () => Promise<string>, api: string): MasterKeyProvider
  transit(address: string, key: string, token: () => Promise<string>): MasterKeyProvider
}

const guide = fileURLToPath(new URL('../../../docs/guides/master-keys-in-a-kms.md', import.meta.url))
const TOKEN = 'the-token'
let adapters: Adapters
let server: Server
let address: string
let folder: string
let isAway = false
const calls: string[] = []

/** What a service does with a key of its own: bytes under AES-GCM, bound to what came with them. */
const key = randomBytes(32)
function seal(plaintext: Buffer, bound: string): Buffer {
  const nonce = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(bound))
  return Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}
function open(sealed: Buffer, bound: string): Buffer {
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12)).setAAD(Buffer.from(bound))
  decipher.setAuthTag(sealed.subarray(-16))
  return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()])
}

type Body = Readonly<Record<string, string>>
type Answer = readonly [status: number, body: object]
const bytes = (text = ''): Buffer => Buffer.from(text, 'base64')

/** JSON 1.1 with the action in a header and Signature Version 4. */
function aws(request: IncomingMessage, body: Body & { EncryptionContext?: object }): Answer {
  if (!String(request.headers.authorization).startsWith('AWS4-HMAC-SHA256 Credential=')) return [403, {}]
  const bound = JSON.stringify(Object.entries(body.EncryptionContext ?? {}).toSorted())
  const KeyId = 'arn:aws:kms:eu-central-1:1:key/1'
  if (request.headers['x-amz-target'] === 'TrentService.Encrypt')
    return [200, { KeyId, CiphertextBlob: seal(bytes(body['Plaintext']), bound).toString('base64') }]
  return [200, { KeyId, Plaintext: open(bytes(body['CiphertextBlob']), bound).toString('base64') }]
}

function gcp(request: IncomingMessage, body: Body): Answer {
  if (request.headers.authorization !== `Bearer ${TOKEN}`) return [401, { error: { code: 401 } }]
  const bound = body['additionalAuthenticatedData'] ?? ''
  const name = 'projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1'
  if (request.url?.endsWith(':encrypt') === true)
    return [200, { name, ciphertext: seal(bytes(body['plaintext']), bound).toString('base64') }]
  return [200, { plaintext: open(bytes(body['ciphertext']), bound).toString('base64'), usedPrimary: true }]
}

const TRANSIT = 'vault:v1:'
function transitEngine(request: IncomingMessage, body: Body): Answer {
  if (request.headers['x-vault-token'] !== TOKEN) return [403, { errors: ['permission denied'] }]
  const bound = body['associated_data'] ?? ''
  const given = bytes(body['ciphertext']?.slice(TRANSIT.length))
  const action = request.url?.split('/')[3]
  const ciphertext = (plaintext: Buffer): object => ({
    data: { ciphertext: TRANSIT + seal(plaintext, bound).toString('base64'), key_version: 1 },
  })
  if (action === 'encrypt') return [200, ciphertext(bytes(body['plaintext']))]
  if (action === 'rewrap') return [200, ciphertext(open(given, bound))]
  return [200, { data: { plaintext: open(given, bound).toString('base64') } }]
}

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const body = JSON.parse(Buffer.concat(parts).toString()) as Body
  const service = request.url === '/' ? aws : request.url?.startsWith('/v1/transit/') === true ? transitEngine : gcp
  calls.push(`${service.name} ${String(request.headers['x-amz-target'] ?? request.url)}`)
  let answer: Answer
  try {
    answer = isAway ? [503, { message: 'away' }] : service(request, body)
  } catch {
    answer = [400, { __type: 'InvalidCiphertextException', message: 'refused' }]
  }
  response.writeHead(answer[0], { 'content-type': 'application/x-amz-json-1.1' }).end(JSON.stringify(answer[1]))
}

beforeAll(async () => {
  server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const at = server.address()
  address = `http://127.0.0.1:${typeof at === 'object' && at !== null ? at.port : 0}`
  // Inside the package, where the imports of the guide are found.
  folder = await mkdtemp(join(import.meta.dirname, '.kms-guide-'))
  const blocks = [...(await readFile(guide, 'utf8')).matchAll(/```ts (\w+)\n([\s\S]*?)```/g)]
  const loaded: object[] = []
  for (const [, name = '', code = ''] of blocks) {
    const file = join(folder, `${name}.ts`)
    await writeFile(file, code)
    loaded.push((await import(file)) as object)
  }
  adapters = Object.assign({}, ...loaded) as Adapters
})
afterAll(async () => {
  await rm(folder, { recursive: true, force: true })
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const token = async (): Promise<string> => TOKEN
const providers: [string, () => MasterKeyProvider][] = [
  [
    'AWS KMS',
    () =>
      adapters.awsKms(
        new KMSClient({
          endpoint: address,
          region: 'eu-central-1',
          maxAttempts: 1,
          credentials: { accessKeyId: 'a', secretAccessKey: 's' },
        }),
        'alias/keyturn',
      ),
  ],
  ['Google Cloud KMS', () => adapters.gcpKms('projects/p/locations/l/keyRings/r/cryptoKeys/k', token, address)],
  ['Transit', () => adapters.transit(address, 'keyturn', token)],
]

describe.each(providers)('the adapter of the guide for %s', (_name, provider) => {
  it('opens a vault with one call for each key version, and rotates and wraps again', async () => {
    const store = new MemoryStore()
    const vault = await Vault.create(store, provider())
    const cells = Array.from({ length: 50 }, (_, tenant) => vault.partition(`tenant ${tenant}`).cell('c'))
    for (const cell of cells) await cell.sealText('email', 'a@example.org')
    await vault.keys.rotate()
    await vault.keys.rewrap()
    await vault.close()
    calls.length = 0
    const again = await Vault.open(store, provider())
    for (const cell of cells) expect(await again.partition(cell.partition).cell('c').openText('email')).toContain('@')
    // Two versions and the audit secret.
    expect(calls.length).toBeLessThanOrEqual(3)
    await again.close()
  })

  it('gives a wrapped key only to the vault and version it was made for, and names what failed', async () => {
    const one = provider()
    const context = { vaultId: 'v', keyVersion: 1, purpose: 'master' } as const
    const { wrapped, plaintext } = await one.generate(context)
    expect([...(await one.unwrap(wrapped, context))]).toEqual([...plaintext])
    await expect(one.unwrap(wrapped, { ...context, keyVersion: 2 })).rejects.toThrow()
    const store = new MemoryStore()
    await (await Vault.create(store, one)).close()
    isAway = true
    try {
      const opened = Vault.open(store, one).then(async (vault) => vault.partition('t').cell('c').sealText('n', 'x'))
      await expect(opened).rejects.toMatchObject({ code: 'VK_PROVIDER' })
    } finally {
      isAway = false
    }
  })
})
