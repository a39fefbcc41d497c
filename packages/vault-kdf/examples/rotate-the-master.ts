// Seals two records, rotates the master key under them, and retires the old one when nothing needs it any more.
import { MemoryStore, Vault } from '@keyturn/vault-kdf'
import { memoryProvider } from '@keyturn/vault-kdf/testing'

const text = new TextEncoder()
const vault = await Vault.create(new MemoryStore(), memoryProvider())
const cell = vault.partition('tenant-a').cell('user-1')
await cell.seal('email', text.encode('a@example.org'))
await cell.seal('phone', text.encode('+420 123'))

await vault.keys.rotate() // version 2 is active, version 1 still opens
await cell.seal('phone', text.encode('+420 456')) // written under version 2
const email = new TextDecoder().decode(await cell.open('email')) // read under version 1, resealed in the background
await vault.settle()

const { counts, remaining } = await vault.sweep() // whatever nobody has read
await vault.keys.retire(1) // refused while a single record is under it
const verdict = await vault.verifyAudit()
console.log({
  email,
  swept: counts.resealed,
  remaining,
  states: vault.keys.list().map(({ version, state }) => `${version} ${state}`),
  audit: verdict.ok,
})
await vault.close()
