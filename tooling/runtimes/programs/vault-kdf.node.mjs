import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Vault } from '@keyturn/vault-kdf'
import { FolderStore } from '@keyturn/vault-kdf/node'
import { memoryProvider } from '@keyturn/vault-kdf/testing'
import { bytes, expect, text } from './require.mjs'

async function sealAndOpen(store) {
  const vault = await Vault.create(store, memoryProvider())
  const cell = vault.partition('tenant-a').cell('user-1')
  await cell.seal('email', bytes('a@example.org'))
  expect('the text', text(await cell.open('email')) === 'a@example.org')
  await vault.close()
  await store.close()
}

async function inFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-run-'))
  try {
    await use(join(folder, 'vault'))
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export const features = {
  'a vault in a folder': () => inFolder(async (path) => sealAndOpen(await FolderStore.open(path))),
  'a vault in SQLite': () =>
    inFolder(async (path) => {
      const { SqliteStore } = await import('@keyturn/vault-kdf/sqlite')
      await sealAndOpen(SqliteStore.open(`${path}.db`))
    }),
}
