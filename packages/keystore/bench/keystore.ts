// Changes and reads of a keystore as ratios to what they cannot avoid: two durable files, and one open of AES-256-GCM.
import { createDecipheriv, createCipheriv, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { createKeystore, openKeystore } from '../src/node/index.ts'

const folder = await mkdtemp(join(tmpdir(), 'keystore-bench-'))
const keystore = await createKeystore(join(folder, 'keystore'), 'bench', { scryptLogN: 10 })
for (let n = 0; n < 100; n++)
  await keystore.put(`key/${n}`, { kind: 'content-key', secret: new Uint8Array(randomBytes(32)) })

async function micros(work: () => unknown, times: number): Promise<number> {
  const start = process.hrtime.bigint()
  for (let n = 0; n < times; n++) await work()
  return Number(process.hrtime.bigint() - start) / 1000 / times
}

async function ratio(name: string, limit: () => unknown, ours: () => unknown, times: number): Promise<void> {
  const pairs: { limit: number; ours: number }[] = []
  for (let round = 0; round < 21; round++)
    pairs.push({ limit: await micros(limit, times), ours: await micros(ours, times) })
  const middle = (values: number[]): number => values.toSorted((a, b) => a - b)[10] ?? 0
  process.stdout.write(
    `${name.padEnd(40)} limit ${middle(pairs.map((pair) => pair.limit))
      .toFixed(0)
      .padStart(6)} us, ours ${middle(pairs.map((pair) => pair.ours))
      .toFixed(0)
      .padStart(6)} us, ratio ${middle(pairs.map((pair) => pair.ours / pair.limit)).toFixed(2)}\n`,
  )
}

const size = 20_000
let counter = 0
await ratio(
  'change one note among 100 secrets',
  async () => {
    await writeFileAtomic(join(folder, 'limit.previous'), new Uint8Array(size))
    await writeFileAtomic(join(folder, 'limit'), new Uint8Array(size))
  },
  () => keystore.update('key/1', { note: `note ${counter++}` }),
  3,
)

const key = randomBytes(32)
const nonce = randomBytes(12)
const cipher = createCipheriv('aes-256-gcm', key, nonce)
const sealed = Buffer.concat([cipher.update(randomBytes(32)), cipher.final()])
const tag = cipher.getAuthTag()
await ratio(
  'withSecret(), 32 bytes',
  () => {
    const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
    decipher.setAuthTag(tag)
    decipher.update(sealed)
    decipher.final()
  },
  () => keystore.withSecret('key/1', () => undefined),
  100,
)
keystore.close()

// Under a secret of the system's keychain, which is random: nothing has to be slow.
const randomSecret = new Uint8Array(randomBytes(32))
;(await createKeystore(join(folder, 'keychain'), { randomSecret })).close()
await ratio(
  'open under a keychain secret, wanted 10 ms',
  () => readFile(join(folder, 'keychain')),
  async () => (await openKeystore(join(folder, 'keychain'), { randomSecret })).close(),
  5,
)
await rm(folder, { recursive: true })
