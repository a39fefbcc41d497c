import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeFile } from 'node:fs/promises'
import { openClient } from '../src/server/server.ts'
import { HomeWorld } from './support/home-world.ts'

let world: HomeWorld
let tokenFile = ''
beforeEach(async () => {
  world = await HomeWorld.create()
  tokenFile = join(world.folder, 'token')
  await writeFile(tokenFile, 'a token\n', { mode: 0o600 })
})
afterEach(async () => {
  await world.remove()
})

describe('openClient()', () => {
  it.each(['http://updates.example.org', 'http://127.0.0.1.example.org', 'http://192.168.1.2:8080'])(
    'sends no token in the clear to %s (REL_INSECURE_SERVER)',
    async (server) => {
      const home = await world.home()
      await expect(openClient({ server, tokenFile }, home)).rejects.toMatchObject({ code: 'REL_INSECURE_SERVER' })
      expect((await openClient({ server, tokenFile, insecureHttp: true }, home)).server.href).toContain(server)
    },
  )

  it.each(['https://updates.example.org', 'http://127.0.0.1:8080', 'http://[::1]:8080', 'http://localhost:8080'])(
    'sends it to %s',
    async (server) => {
      expect((await openClient({ server, tokenFile }, await world.home())).server.href).toContain(server)
    },
  )
})
