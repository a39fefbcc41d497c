// One tenant of a service: search in sealed values, a file of any length, and the erasure of all of it at once.
import { MemoryStore, Vault } from '@keyturn/vault-kdf'
import { memoryProvider } from '@keyturn/vault-kdf/testing'

const vault = await Vault.create(new MemoryStore(), memoryProvider())
const tenant = vault.partition('tenant-a')
await tenant.makeErasable() // before the first record

// Two users, found by a sealed address. `rows` is a table of yours: the index is stored, the address is not.
const emails = await tenant.blindIndex('users.email')
const rows = new Map<string, string>()
for (const [user, email] of [
  ['user-1', 'a@example.org'],
  ['user-2', 'b@example.org'],
] as const) {
  await tenant.cell(user).sealText('email', email)
  rows.set((await emails.index(email)).join(), user)
}
const [wanted] = await emails.search('b@example.org')
const found = rows.get(wanted?.join() ?? '') ?? 'nobody'

// A megabyte goes to an object store, chunk by chunk; the vault keeps its key and its length.
const sealed: Uint8Array[] = []
for await (const part of tenant.cell(found).sealStream('scan.pdf', [new Uint8Array(1_000_000)])) sealed.push(part)
let bytes = 0
for await (const part of tenant.cell(found).openStream('scan.pdf', sealed)) bytes += part.length

const { removed } = await tenant.erase({ irreversiblyErase: 'tenant-a', reason: 'contract ended' })
const refused = await tenant
  .cell(found)
  .sealText('email', 'again')
  .catch((error: unknown) => (error as { code?: string }).code)
console.log({ found, bytes, removed, refused })
await vault.close()
