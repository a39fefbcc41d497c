import { lstat, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openHome } from '@keyturn/publisher'
import { diagnose } from '@keyturn/publisher/health'
import type { Finding } from '@keyturn/publisher/health'
import { identityRotation, identityRotationSteps, runRotationSteps } from '@keyturn/publisher/rotation'
import { command } from '../support/command.ts'
import { World } from '../support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

async function turn(nextKeyFile?: string): Promise<void> {
  const home = await openHome(world.context(), { nextKeyFile })
  await runRotationSteps(identityRotation, identityRotationSteps(home, { channels: [], nowMs: Date.now() }), {
    folder: home.paths.journals,
    nowMs: Date.now(),
  })
}

async function nextKeyFindings(): Promise<Finding[]> {
  const findings = await diagnose(await world.home(), {
    nowMs: Date.now(),
    deep: false,
    client: undefined,
    signal: world.signal,
  })
  return findings.filter(({ check }) => check === 'next-key')
}

describe('the file with the next identity key', () => {
  it('is the only one: no earlier generation stays in the home, neither after init nor after a rotation, nor after id rotate', async () => {
    const besides = async (): Promise<string[]> =>
      (await readdir(world.path('home'))).filter((name) => name.startsWith('next-identity'))
    expect(await besides()).toEqual(['next-identity.keystore'])
    await turn()
    expect(await besides()).toEqual(['next-identity.keystore'])
    expect(await command(world, ['id', 'rotate'])).toMatchObject({ code: 0, data: { sn: 2 } })
    expect(await besides()).toEqual(['next-identity.keystore'])
    await rename(world.path('home', 'next-identity.keystore'), world.path('moved'))
    await turn(world.path('moved'))
    expect(await besides()).toEqual([])
    // What is on another medium has the public log beside it, for the day that the home is lost.
    const moved = (await readdir(world.folder)).filter((name) => name.startsWith('moved')).sort()
    expect(moved).toEqual(['moved', 'moved.log.cesr', 'moved.roles.json'])
  })

  it('is written where a symbolic link leads, at home or by flag, and the link stays', async () => {
    const stick = world.path('stick.keystore')
    const links = [world.path('home', 'next-identity.keystore'), world.path('link')]
    await rename(links[0] as string, stick)
    for (const [index, link] of links.entries()) {
      await symlink(stick, link)
      const before = await readFile(stick)
      const flags = index === 0 ? [] : ['--next-key-file', link]
      expect(await command(world, ['id', 'rotate', ...flags])).toMatchObject({ code: 0, data: { sn: index + 1 } })
      expect((await lstat(link)).isSymbolicLink()).toBe(true)
      expect((await readFile(stick)).equals(before)).toBe(false)
      await rm(link)
    }
    // The stick alone holds what the next rotation needs.
    expect(await command(world, ['id', 'rotate', '--next-key-file', stick])).toMatchObject({ data: { sn: 3 } })
    expect((await readdir(world.path('home'))).filter((name) => name.startsWith('next-identity'))).toEqual([])
  })

  it('is refused where a link leads nowhere, and nothing is signed', async () => {
    await rename(world.path('home', 'next-identity.keystore'), world.path('elsewhere'))
    await symlink(world.path('unplugged'), world.path('home', 'next-identity.keystore'))
    expect(await command(world, ['id', 'rotate'])).toMatchObject({ ok: false })
    expect((await command(world, ['status'])).data).toMatchObject({ pending: [] })
    expect(await command(world, ['id', 'rotate', '--next-key-file', world.path('elsewhere')])).toMatchObject({
      code: 0,
    })
  })

  it('is found by the doctor wherever a generation of it is in the home', async () => {
    const file = world.path('home', 'next-identity.keystore')
    expect(await nextKeyFindings()).toMatchObject([{ level: 'warning', mend: expect.stringContaining('move') }])
    await rename(file, world.path('moved'))
    expect(await nextKeyFindings()).toMatchObject([{ level: 'ok' }])
    await writeFile(`${file}.previous`, 'an earlier generation', { mode: 0o600 })
    expect(await nextKeyFindings()).toMatchObject([{ level: 'warning', mend: `rm "${file}.previous"` }])
  })
})
