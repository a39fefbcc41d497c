import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { verifyLog } from '@keyturn/kel'
import { createReleaseServer } from '@keyturn/release-server'
import type { ReleaseServer } from '@keyturn/release-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'

let folder = ''
let server: ReleaseServer
let url = ''
let port = 0

async function startWitness(): Promise<void> {
  server = await createReleaseServer({
    dataDir: join(folder, 'server'),
    port,
    vault: { passphrase: 'x', scryptLogN: 4 },
  })
  const listening = await server.listen()
  port = listening.port
  url = `${listening.url}/witness`
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-witness-'))
  await writeFile(join(folder, 'passphrase'), 'test\n', { mode: 0o600 })
  await startWitness()
})

afterAll(async () => {
  await server.close()
  await rm(folder, { recursive: true })
})

function run(...args: readonly string[]): Promise<Outcome> {
  return keyturn([
    ...args,
    '--home',
    join(folder, 'home'),
    '--passphrase-file',
    join(folder, 'passphrase'),
    '--json',
    '--yes',
  ])
}

describe('keyturn id witness', () => {
  it('collect brings a new identity into force, and rotations and seals collect their receipts themselves', async () => {
    const { prefix: witness } = (await (await fetch(url)).json()) as { prefix: string }
    const made = dataOf(await run('id', 'init', '--alias', 'team', '--witness', witness, '--witnesses-required', '1'))
    expect(made).toMatchObject({ created: true })
    expect(codeOf(await run('id', 'show'))).toBe('KEL_WITNESS')
    expect(codeOf(await run('id', 'witness', 'collect'))).toBe('KEL_WITNESS')
    expect(dataOf(await run('id', 'witness', 'add', url))).toMatchObject({ prefix: witness, named: true })
    expect(dataOf(await run('id', 'witness', 'list'))).toEqual({ witnesses: [{ prefix: witness, url, named: true }] })
    const collected = await run('id', 'witness', 'collect')
    expect(dataOf(collected)).toMatchObject({
      sn: 0,
      satisfied: true,
      signed: 1,
      added: 1,
      answers: [{ prefix: witness, outcome: 'receipt' }],
    })
    expect(dataOf(await run('id', 'witness', 'collect'))).toMatchObject({ satisfied: true, added: 0 })

    await writeFile(join(folder, 'setup.exe'), 'installer')
    expect(dataOf(await run('sign', join(folder, 'setup.exe'), '--seal'))).toMatchObject({ sealed_at: 1 })
    expect(dataOf(await run('verify', join(folder, 'setup.exe')))).toMatchObject({ position: 'witnessed' })

    await server.close()
    // Nothing is signed that no witness could complete, so nothing waits.
    expect(codeOf(await run('id', 'rotate'))).toBe('KEL_WITNESS')
    expect(dataOf(await run('id', 'show'))).toMatchObject({ rotation_pending: false })
    await startWitness()
    expect(dataOf(await run('id', 'rotate'))).toMatchObject({ sn: 2, resumed: false })
    const { state } = dataOf(await run('id', 'show')) as { state: { prefix: string } }
    expect(verifyLog(await readFile(join(folder, 'home', 'identities', state.prefix, 'log.cesr'))).state.sn).toBe(2)
  })
})
