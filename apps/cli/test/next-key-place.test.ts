import { rename } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { dataOf, keyturn } from './support/keyturn.ts'
import { World } from './support/world.ts'

it('keyturn emergency rotate-now tells where the next key really is: the medium it was fetched from', async () => {
  const world = await World.create()
  try {
    const stick = world.path('stick.keystore')
    await rename(world.path('home', 'next-identity.keystore'), stick)
    const outcome = await keyturn(['emergency', 'rotate-now', '--yes', '--json', '--next-key-file', stick], {
      env: { KEYTURN_HOME: world.path('home'), KEYTURN_PASSPHRASE_FILE: world.path('passphrase') },
    })
    expect(dataOf(outcome)).toMatchObject({ sn: 1, next_key_files: [stick] })
  } finally {
    await world.remove()
  }
})
