import { createReleaseServer } from '@keyturn/release-server'
import type { ReleaseServer } from '@keyturn/release-server'
import { verifyLog } from '@keyturn/kel'
import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { command } from '../support/command.ts'
import type { Answer } from '../support/command.ts'
import { World } from '../support/world.ts'

let world: World
let witness: ReleaseServer
let url = ''
let port = 0

async function startWitness(): Promise<void> {
  witness = await createReleaseServer({
    dataDir: world.path('witness'),
    port,
    vault: { passphrase: 'x', scryptLogN: 4 },
  })
  const listening = await witness.listen()
  port = listening.port
  url = `${listening.url}/witness`
}

/** The receipts that the log itself carries, for each event. */
async function receipts(): Promise<number[]> {
  const log = verifyLog(await readFile(world.path('home', 'identity.cesr')))
  return log.events.map(({ said }) => log.witnessesOf(said).size)
}

function run(...args: string[]): Promise<Answer> {
  return command(world, args)
}

beforeEach(async () => {
  world = await World.create()
  await startWitness()
  const { prefix } = (await (await fetch(url)).json()) as { prefix: string }
  expect(await run('id', 'witness', 'add', url)).toMatchObject({ code: 0 })
  expect(await run('id', 'rotate', '--add-witness', prefix, '--witnesses-required', '1')).toMatchObject({
    code: 0,
    data: { sn: 1 },
  })
})
afterEach(async () => {
  await witness.close()
  await world.remove()
})

describe('a release identity with a witness', () => {
  it('turns with rotate identity: the rotation waits for its receipt, cannot be given up, and is finished later', async () => {
    await world.release()
    await witness.close()
    expect(await run('rotate', 'identity')).toMatchObject({ error: { code: 'KEL_WITNESS' } })
    expect((await run('id', 'show')).data).toMatchObject({ state: { sn: 1 } })
    expect(await run('rotate', 'identity', '--abandon')).toMatchObject({
      error: { code: 'CLI_TURN_PENDING', hint: expect.stringContaining('keyturn rotate identity') },
    })
    expect(await run('release', 'head')).toMatchObject({ error: { code: 'CLI_TURN_PENDING' } })
    await startWitness()
    expect(await run('rotate', 'identity')).toMatchObject({ code: 0, data: { sn: 2, resumed: true } })
    expect(await receipts()).toEqual([0, 1, 1])
    expect(await run('release', 'verify')).toMatchObject({ data: { outcome: 'accepted' } })
  })

  it('puts a proposed role document in force with roles seal, receipt and all', async () => {
    expect(await run('roles', 'propose', '--revoke', 'release/1', '--add-release', 'new')).toMatchObject({ code: 0 })
    await witness.close()
    expect(await run('roles', 'seal')).toMatchObject({ error: { code: 'KEL_WITNESS' } })
    expect((await run('roles', 'show')).data).toMatchObject({ version: 1, proposed: 2 })
    await startWitness()
    expect(await run('roles', 'seal')).toMatchObject({ code: 0, data: { sn: 2, roles_version: 2, resumed: true } })
    expect(await receipts()).toEqual([0, 1, 1])
    expect((await run('roles', 'show')).data['proposed']).toBeUndefined()
  })
})
