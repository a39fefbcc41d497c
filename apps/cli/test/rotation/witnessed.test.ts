import { createServer } from 'node:http'
import type { Server } from 'node:http'
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
let witnessPrefix = ''

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

/** In place of the witness: says who it is, and signs nothing. */
async function startMuteWitness(): Promise<Server> {
  const server = createServer((request, response) => {
    const isQuestion = request.method === 'GET' && request.url === '/witness'
    response.writeHead(isQuestion ? 200 : 503, { 'content-type': 'application/json' })
    response.end(isQuestion ? JSON.stringify({ prefix: witnessPrefix }) : '{}')
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return server
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
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
  witnessPrefix = prefix
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
  it('signs nothing while too few witnesses answer: KEL_WITNESS, and nothing waits', async () => {
    await world.release()
    await witness.close()
    for (const args of [
      ['rotate', 'identity'],
      ['id', 'rotate'],
      ['emergency', 'rotate-now'],
    ]) {
      expect(await run(...args), args.join(' ')).toMatchObject({ error: { code: 'KEL_WITNESS' } })
      expect((await run('status')).data).toMatchObject({ pending: [] })
    }
    // Without it the identity rotates at once.
    const dropped = ['--remove-witness', witnessPrefix, '--witnesses-required', '0']
    expect(await run('id', 'rotate', ...dropped)).toMatchObject({ code: 0, data: { sn: 2 } })
    await startWitness()
  })

  it('rotates with rotate identity: a signed rotation waits for its receipt, cannot be given up, and is finished later', async () => {
    await world.release()
    await witness.close()
    const mute = await startMuteWitness()
    expect(await run('rotate', 'identity')).toMatchObject({ error: { code: 'KEL_WITNESS' } })
    expect((await run('id', 'show')).data).toMatchObject({ state: { sn: 1 } })
    expect(await run('rotate', 'identity', '--abandon')).toMatchObject({
      error: { code: 'CLI_TURN_PENDING', hint: expect.stringContaining('keyturn rotate identity') },
    })
    expect(await run('release', 'head')).toMatchObject({ error: { code: 'CLI_TURN_PENDING' } })
    await stop(mute)
    await startWitness()
    expect(await run('rotate', 'identity')).toMatchObject({ code: 0, data: { sn: 2, resumed: true } })
    expect(await receipts()).toEqual([0, 1, 1])
    expect(await run('release', 'verify')).toMatchObject({ data: { outcome: 'accepted' } })
  })

  it('puts a proposed role document in force with roles seal, receipt and all', async () => {
    expect(await run('roles', 'propose', '--revoke', 'release/1', '--add-release', 'new')).toMatchObject({ code: 0 })
    await witness.close()
    const mute = await startMuteWitness()
    expect(await run('roles', 'seal')).toMatchObject({ error: { code: 'KEL_WITNESS' } })
    expect((await run('roles', 'show')).data).toMatchObject({ version: 1, proposed: 2 })
    await stop(mute)
    await startWitness()
    expect(await run('roles', 'seal')).toMatchObject({ code: 0, data: { sn: 2, roles_version: 2, resumed: true } })
    expect(await receipts()).toEqual([0, 1, 1])
    expect((await run('roles', 'show')).data['proposed']).toBeUndefined()
  })

  it('an emergency finishes the keys of a rotation that witnesses may have signed, and goes on', async () => {
    await world.release()
    await witness.close()
    const mute = await startMuteWitness()
    expect(await run('rotate', 'release')).toMatchObject({ error: { code: 'KEL_WITNESS' } })
    await stop(mute)
    await startWitness()
    expect(await run('emergency', 'rotate-now', '--next-alias', 'after-the-theft')).toMatchObject({
      code: 0,
      data: { sn: 3, alias: 'after-the-theft' },
    })
    expect(await run('rotate', 'release', '--local')).toMatchObject({ code: 0, data: { sn: 3, resumed: true } })
    expect(await run('id', 'rotate')).toMatchObject({ code: 0, data: { sn: 4 } })
    expect(await run('release', 'verify')).toMatchObject({ data: { outcome: 'accepted' } })
  })
})
