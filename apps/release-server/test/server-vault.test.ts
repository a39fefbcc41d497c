import { join } from 'node:path'
import { systemRandom } from '@keyturn/primitives'
import { expect, it } from 'vitest'
import { openServerVault } from '../src/noise/server-vault.ts'
import { openSqliteMetadataStore } from '../src/storage/sqlite-metadata-store.ts'
import { temporaryFolder } from './support.ts'

it('refuses stored passphrase parameters that are cheap to guess, unless asked for them', async () => {
  const metadata = openSqliteMetadataStore(join(await temporaryFolder(), 'm.sqlite'))
  await openServerVault(metadata, { passphrase: 'x', scryptLogN: 4 }, systemRandom)
  await expect(openServerVault(metadata, { passphrase: 'x' }, systemRandom)).rejects.toMatchObject({ code: 'SRV_CONFIG' })
  await openServerVault(metadata, { passphrase: 'x', scryptLogN: 4 }, systemRandom)
  await metadata.close()
})
