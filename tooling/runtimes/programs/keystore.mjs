import { Keystore, memoryStorage } from '@keyturn/keystore'
import { codeOf, expect } from './require.mjs'

export const features = {
  async 'keep, rotate, read'() {
    const storage = memoryStorage()
    const keystore = await Keystore.create(storage, 'correct horse battery staple')
    await keystore.putText('@scope/token', 'abc')
    await keystore.rotateMaster()
    keystore.close()
    const again = await Keystore.open(storage, 'correct horse battery staple')
    expect('the text', (await again.readText('@scope/token')) === 'abc')
    expect('a wrong one', (await codeOf(() => Keystore.open(storage, 'incorrect horse'))) === 'KEY_PASSPHRASE')
  },
}
