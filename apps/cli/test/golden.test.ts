import { createReadStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { hexEncode } from '@keyturn/primitives'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { homePaths, keyAlias, readHome } from '@keyturn/publisher'
import { openStream, readHomeStream } from '@keyturn/publisher/backup'
import { Keys } from '@keyturn/publisher/keys'
import { readIdentityLog, rolesInForce } from '@keyturn/publisher/records'

const golden = fileURLToPath(new URL('golden/home-1.backup', import.meta.url))
const passphrase = new TextEncoder().encode('golden')

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-golden-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

describe('golden files', () => {
  it('home-1.backup opens forever: backup 1, home 1, keystores, log and role document', async () => {
    const count = await readHomeStream(
      openStream(passphrase, createReadStream(golden) as AsyncIterable<Uint8Array>),
      folder,
    )
    expect(count.files).toBeGreaterThan(4)
    const description = await readHome(folder)
    const paths = homePaths(folder)
    const { log } = await readIdentityLog(paths, description.identity.prefix)
    const { document } = await rolesInForce(paths, description.identity.prefix)
    const keys = await Keys.open(paths.keystore, passphrase, { clock: Date.now })
    const nextKeys = await Keys.open(paths.nextIdentityKey, passphrase, { clock: Date.now })
    try {
      expect(hexEncode(await keys.publicKey(keyAlias.release(1)))).toBe(document.roles.release.keys[0])
      expect(hexEncode(await keys.publicKey(description.identity.alias))).toBe(
        hexEncode(log.state.publicKeys[0] ?? new Uint8Array()),
      )
      expect(nextKeys.has(description.identity.nextAlias)).toBe(true)
    } finally {
      await keys.close()
      await nextKeys.close()
    }
  })
})
