import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTransportIdentity } from '@keyturn/noise-keys'
import { folderDirectory } from '@keyturn/noise-keys/node'
import { Publisher } from '@keyturn/noise-keys/owner'
import { KeyFloors, lookUpKeys, preferredKey } from '@keyturn/noise-keys/reader'
import { expect } from './require.mjs'

export const features = {
  async 'keys in a folder'() {
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-run-'))
    const directory = folderDirectory(folder)
    const { seed, ...identity } = createTransportIdentity()
    const withSeed = (use) => use(seed)
    const publisher = new Publisher({ identity, directory, withSeed, stored: undefined, store: () => undefined })
    const { active } = await publisher.announce()
    const nowS = Math.floor(Date.now() / 1000)
    const found = preferredKey(await lookUpKeys(directory, identity, new KeyFloors(), { nowS }))
    expect('the key', found.device === active.device)
    rmSync(folder, { recursive: true })
  },
}
