/** Sealing values beside the AWS Encryption SDK (raw AES keyring, no network) and Cloak. */
import { randomBytes } from 'node:crypto'
import { MemoryStore, Vault } from '@keyturn/vault-kdf'
import { memoryProvider } from '@keyturn/vault-kdf/testing'
import { cpuRow, peer, row } from './measure.mjs'

const OURS = 'vault-kdf'
const [AWS, UNSIGNED] = ['AWS Encryption SDK', 'the same, unsigned']
const [aws, cloak] = await Promise.all(['@aws-crypto/client-node', '@47ng/cloak'].map(peer))

let unwraps = 0
const provider = memoryProvider()
const counted = {
  ...provider,
  id: provider.id,
  wrap: (...args) => provider.wrap(...args),
  unwrap: (...args) => {
    unwraps += 1
    return provider.unwrap(...args)
  },
}
const store = new MemoryStore()
const vault = await Vault.create(store, counted)
const cell = vault.partition('tenant-a').cell('user-1')

function awsClient(policy) {
  const keyring = new aws.RawAesKeyringNode({
    keyName: 'bench',
    keyNamespace: 'bench',
    unencryptedMasterKey: new Uint8Array(randomBytes(32)),
    wrappingSuite: aws.RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
  })
  return { keyring, ...aws.buildClient(policy) }
}
const context = { tenant: 'tenant-a', cell: 'user-1', name: 'email' }
const signing = aws && awsClient(aws.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
const suiteId = aws?.AlgorithmSuiteIdentifier.ALG_AES256_GCM_IV12_TAG16_HKDF_SHA512_COMMIT_KEY
const key = cloak && cloak.generateKey()

for (const [words, size] of [
  ['200 bytes', 200],
  ['64 KiB', 65_536],
]) {
  const plaintext = new Uint8Array(randomBytes(size))
  const seal = {
    [OURS]: () => cell.seal('email', plaintext),
    [AWS]: aws && (() => signing.encrypt(signing.keyring, plaintext, { encryptionContext: context })),
    [UNSIGNED]: aws && (() => signing.encrypt(signing.keyring, plaintext, { encryptionContext: context, suiteId })),
  }
  await cpuRow(`seal ${words}`, strip(seal), { times: 200 })
  const sealed = aws && (await seal[AWS]()).result
  const unsigned = aws && (await seal[UNSIGNED]()).result
  const open = {
    [OURS]: () => cell.open('email'),
    [AWS]: aws && (() => signing.decrypt(signing.keyring, sealed)),
    [UNSIGNED]: aws && (() => signing.decrypt(signing.keyring, unsigned)),
  }
  await cpuRow(`open ${words}`, strip(open), { times: 200 })
  if (size !== 200) continue
  const text = Buffer.from(plaintext)
    .toString('latin1')
    .replaceAll(/[^ -~]/g, '.')
  if (cloak !== undefined) {
    const parsed = await cloak.parseKey(key)
    const closed = await cloak.encryptString(text, parsed)
    await cpuRow(
      'seal and open a text of 200 characters',
      strip({
        [OURS]: async () => {
          await cell.sealText('note', text)
          await cell.openText('note')
        },
        Cloak: async () => void (await cloak.decryptString(await cloak.encryptString(text, parsed), parsed)),
      }),
      { times: 200 },
    )
    row('bytes over 200 of text', {
      [OURS]: `${(await sizeOf('note')) - 200} B`,
      ...(aws && { [AWS]: `${sealed.length - 200} B`, [UNSIGNED]: `${unsigned.length - 200} B` }),
      Cloak: `${closed.length - 200} B`,
    })
  }
}

/** A task that returns nothing: what a library gives is not a cost. */
function strip(tasks) {
  return Object.fromEntries(
    Object.entries(tasks).map(([name, task]) => [name, task && (async () => void (await task()))]),
  )
}

async function sizeOf(name) {
  return (await cell.draft(name, new Uint8Array(200))).put.envelope.length
}

unwraps = 0
const second = await Vault.open(store, counted)
for (let tenant = 0; tenant < 1000; tenant += 1)
  await second.partition(`tenant-${tenant}`).cell('user').sealText('email', 'a@example.org')
row('calls of the key service to open the vault and write for 1,000 tenants', { [OURS]: String(unwraps) })
