import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

describe('keyturn update', () => {
  it('finds the install by --dir, then KEYTURN_INSTALL_DIR, then the variable of the original launcher', async () => {
    await world.startServer()
    await world.release()
    const pin = String(dataOf(await keyturn(['release', 'trust', '--json', '--home', world.path('home')]))['pin'])
    dataOf(
      await keyturn(['update', '--json', '--dir', world.path('game'), '--server', `${world.url}/`, '--trust', pin]),
    )
    const update = (env: Record<string, string>): ReturnType<typeof keyturn> => keyturn(['update', '--json'], { env })
    expect(
      dataOf(await update({ KEYTURN_INSTALL_DIR: world.path('game'), METIN2_INSTALL_DIR: world.path('nowhere') })),
    ).toMatchObject({ outcome: 'up-to-date' })
    expect(dataOf(await update({ METIN2_INSTALL_DIR: world.path('game') }))).toMatchObject({ outcome: 'up-to-date' })
    expect(codeOf(await update({}))).toBe('CLI_USAGE')
  })
})
