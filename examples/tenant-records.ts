// Records of many tenants in one SQLite file. Each tenant has its own keys. The master key is rotated while the service
// runs, and a record that someone moves to another tenant does not open.
//
//   node examples/tenant-records.ts
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { utf8Decode, utf8Encode } from '@keyturn/primitives'
import { Vault } from '@keyturn/vault-kdf'
import { createKeyFile, openKeyFile } from '@keyturn/vault-kdf/node'
import { SqliteAuditStore, SqliteStore } from '@keyturn/vault-kdf/sqlite'

interface Customer {
  readonly name: string
  readonly email: string
}

/** The part that a service would write: customers by tenant and number, sealed at rest. */
class Customers {
  readonly #vault: Vault

  constructor(vault: Vault) {
    this.#vault = vault
  }

  async save(tenant: string, id: number, customer: Customer): Promise<void> {
    await this.#vault
      .partition(tenant)
      .cell('customers')
      .seal(String(id), utf8Encode(JSON.stringify(customer)))
  }

  async load(tenant: string, id: number): Promise<Customer> {
    return JSON.parse(utf8Decode(await this.#vault.partition(tenant).cell('customers').open(String(id)))) as Customer
  }
}

const folder = await mkdtemp(join(tmpdir(), 'keyturn-tenants-'))
const [databasePath, keyPath, passphrase] = [
  join(folder, 'service.db'),
  join(folder, 'master.key'),
  'kept in the service manager',
]
try {
  // The first start makes a key file under a passphrase, a store, and a vault with an audit chain in the same database.
  await createKeyFile(keyPath, passphrase)
  const store = SqliteStore.open(databasePath)
  const audit = { store: new SqliteAuditStore(store.database) }
  const vault = await Vault.create(store, await openKeyFile(keyPath, passphrase), { audit })
  const customers = new Customers(vault)
  for (const tenant of ['acme', 'globex']) {
    for (let id = 1; id <= 50; id++)
      await customers.save(tenant, id, { name: `${tenant} ${id}`, email: `${id}@${tenant}.example` })
  }
  console.log(await customers.load('acme', 7))

  // Rotate the master key: every record opens all the time, new writes use the new key, and a sweep moves the rest.
  await vault.keys.rotate()
  await customers.save('acme', 7, { name: 'acme 7', email: 'new@acme.example' })
  const { counts, remaining } = await vault.sweep()
  await vault.keys.retire(1)
  console.log(
    `rotated: ${counts.resealed} records sealed again, ${remaining} left, ${vault.keys
      .list()
      .map(({ version, state }) => `${version} ${state}`)
      .join(', ')}`,
  )
  await vault.close()
  await store.close()

  // Someone with access to the database moves a record of one tenant to the other.
  const database = new DatabaseSync(databasePath)
  database.exec(`DELETE FROM vault_records WHERE partition = 'globex' AND name = '7'`)
  database.exec(`UPDATE vault_records SET partition = 'globex' WHERE partition = 'acme' AND name = '7'`)
  database.close()

  // The next start uses the same file and the same passphrase.
  const reopened = SqliteStore.open(databasePath)
  const again = await Vault.open(reopened, await openKeyFile(keyPath, passphrase), {
    audit: { store: new SqliteAuditStore(reopened.database) },
  })
  const after = new Customers(again)
  const stolen = await after.load('globex', 7).catch((error: { code?: string }) => error.code)
  const { email } = await after.load('acme', 8)
  const { ok } = await again.verifyAudit()
  console.log(
    `moved to the other tenant: ${String(stolen)}; another record: ${email}; audit chain ${ok ? 'intact' : 'broken'}`,
  )
  await again.close()
  await reopened.close()
  if (stolen !== 'VK_AUTH' || email !== '8@acme.example' || !ok)
    throw new Error('The vault did not protect its records')
} finally {
  await rm(folder, { recursive: true, force: true })
}
