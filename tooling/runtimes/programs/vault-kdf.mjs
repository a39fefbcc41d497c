import { MemoryStore, Vault } from '@keyturn/vault-kdf'
import { memoryProvider } from '@keyturn/vault-kdf/testing'
import { bytes, expect, text } from './require.mjs'

export const features = {
  async 'seal, rotate, sweep, open'() {
    const vault = await Vault.create(new MemoryStore(), memoryProvider())
    const cell = vault.partition('tenant-a').cell('user-1')
    await cell.seal('email', bytes('a@example.org'))
    await vault.keys.rotate()
    expect('the text', text(await cell.open('email')) === 'a@example.org')
    await vault.settle()
    await vault.sweep()
    await vault.keys.retire(1)
    expect('the audit', (await vault.verifyAudit()).ok)
    await vault.close()
  },
}
