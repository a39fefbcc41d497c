import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openOrCreateKeystore } from '@keyturn/keystore/node'
import { expect } from './require.mjs'

export const features = {
  async 'a keystore in a file'() {
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-run-'))
    const open = () => openOrCreateKeystore(join(folder, 'keystore'), 'correct horse battery staple')
    const keystore = await open()
    await keystore.putText('token', 'abc')
    keystore.close()
    expect('the text', (await (await open()).readText('token')) === 'abc')
    rmSync(folder, { recursive: true })
  },
}
