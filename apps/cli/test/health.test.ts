import { chmod, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fromJsonSchema } from '@modelcontextprotocol/server'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ReleaseServerClient } from '@keyturn/release-client'
import { collectStatus, diagnose, writeCalendar } from '@keyturn/publisher/health'
import type { Finding } from '@keyturn/publisher/health'
import { run } from '../src/program.ts'
import { command } from './support/command.ts'
import { dataOf, keyturn } from './support/keyturn.ts'
import { World } from './support/world.ts'

let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

const schemas = fileURLToPath(new URL('../../../docs/spec/schemas', import.meta.url))

async function problems(name: string, value: unknown): Promise<unknown> {
  const schema = JSON.parse(await readFile(join(schemas, `${name}.schema.json`), 'utf8')) as Parameters<
    typeof fromJsonSchema
  >[0]
  return (await fromJsonSchema(schema)['~standard'].validate(value)).issues
}

async function faults(): Promise<Finding[]> {
  const findings = await diagnose(await world.home(), {
    nowMs: Date.now(),
    deep: true,
    client: undefined,
    signal: world.signal,
  })
  return findings.filter(({ level }) => level === 'error')
}

describe('keyturn status and doctor', () => {
  it('answer as their published schemas say', async () => {
    await world.release()
    const flags = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json']
    expect(await problems('status', dataOf(await keyturn(['status', ...flags])))).toBeUndefined()
    expect(await problems('doctor', dataOf(await keyturn(['doctor', ...flags])))).toBeUndefined()
    expect(await problems('status', { product: 1 })).toBeDefined()
  })

  it('keep the shape they had: names, kinds, states and fixes', async () => {
    await world.release()
    await command(world, ['noise', 'publish'])
    const [{ data: status }, { data: doctor }] = [
      await command(world, ['status']),
      await command(world, ['doctor', '--offline']),
    ]
    const items = (status['items'] as Record<string, unknown>[]).map(
      ({ kind, id, state, due_state: due, mend, ...rest }) => ({
        kind,
        id,
        state,
        due_state: due,
        mend,
        and: Object.keys(rest).toSorted(),
      }),
    )
    expect({
      members: Object.keys(status).toSorted(),
      items,
      channels: (status['channels'] as object[]).map((channel) => Object.keys(channel)),
    }).toMatchSnapshot('status')
    const findings = (doctor['findings'] as Record<string, unknown>[]).map(({ check, level, mend }) => [
      check,
      level,
      String(mend).replaceAll(world.folder, ''),
    ])
    expect({ members: Object.keys(doctor).toSorted(), findings }).toMatchSnapshot('doctor')
  })

  it('"status --check --quiet" prints nothing when nothing is due, and what is due otherwise', async () => {
    const look = async (nowMs: number): Promise<string> => {
      let printed = ''
      const stdout = { write: (part: string) => void (printed += part) }
      const home = ['--home', world.path('home'), '--quiet']
      const environment = { stdout, stderr: { write: () => {} }, env: {}, signal: world.signal, clock: () => nowMs }
      await run(['status', '--check', ...home], environment)
      return printed
    }
    expect((await look(Date.now())).trim()).toBe('')
    const due = (await look(Date.now() + 100 * 86_400_000)).trim().split('\n')
    expect(due.length).toBeGreaterThan(0)
    expect(due.every((line) => line.startsWith('DUE '))).toBe(true)
  })

  it('answer with an error code beside their data when something is due or unsound: CLI_DUE, exit 1', async () => {
    await world.release()
    expect(await command(world, ['status', '--check'])).toMatchObject({ code: 0, ok: true })
    const later = { nowMs: Date.now() + 400 * 86_400_000 }
    expect(await command(world, ['status'], later)).toMatchObject({ code: 0, ok: true })
    const due = await command(world, ['status', '--check'], later)
    expect(due).toMatchObject({
      code: 1,
      ok: false,
      error: { code: 'CLI_DUE', hint: expect.stringContaining('rotate all --due') },
    })
    expect(due.data['due']).toEqual(
      expect.arrayContaining(['identity identity/1', 'master keystore', 'roles role document 1']),
    )
    await chmod(world.path('home', 'keystore'), 0o644)
    const unsound = await command(world, ['doctor', '--offline'])
    expect(unsound).toMatchObject({ code: 1, ok: false, error: { code: 'CLI_DUE' } })
    const fixes = (unsound.data['findings'] as Finding[])
      .filter(({ level }) => level === 'error')
      .map(({ mend }) => mend)
    expect(fixes[0]).toMatch(/^chmod go-rwx/)
    expect(fixes.filter((mend) => mend === '' || mend === 'keyturn restore')).toEqual([])
  })
})

describe('collectStatus()', () => {
  it('tells what is due, and when, as the clock goes on', async () => {
    await world.release()
    const home = await world.home()
    const now = Date.now()
    const at = async (days: number): Promise<string[]> =>
      (await collectStatus(home, now + days * 86_400_000)).items
        .filter(({ due_state }) => due_state !== 'ok')
        .map(({ kind, due_state }) => `${kind} ${due_state}`)
    expect(await at(0)).toEqual([])
    expect(await at(6)).toEqual(['head-document due'])
    expect(await at(8)).toEqual(['head-document expired'])
    expect(await at(150)).toEqual(['content soon', 'release soon', 'head due', 'head-document expired'])
    expect(await at(400)).toContain('roles expired')
  })

  it('becomes a calendar whose entries keep their identity', async () => {
    const status = await collectStatus(await world.home(), Date.now())
    const calendar = writeCalendar(status, Date.now())
    expect(calendar.split('\r\n').every((line) => line.length <= 75)).toBe(true)
    expect(calendar.match(/BEGIN:VEVENT/g)?.length).toBe(status.items.filter(({ due }) => due !== undefined).length)
    expect(calendar.match(/^UID:.*$/gm)).toEqual(writeCalendar(status, Date.now() + 5000).match(/^UID:.*$/gm))
  })
})

describe('diagnose()', () => {
  it('calls for no restore where the passphrase is wrong, and for no release where the server is down', async () => {
    await writeFile(world.path('passphrase'), 'wrong\n')
    const client = new ReleaseServerClient('http://127.0.0.1:9', { retries: 0 })
    const findings = await diagnose(await world.home(), {
      nowMs: Date.now(),
      deep: false,
      client,
      signal: world.signal,
    })
    const fixes = findings.filter(({ level }) => level === 'error').map(({ check, mend }) => [check, mend])
    expect(fixes).toEqual([
      ['keystore', 'keyturn doctor, with the right passphrase'],
      ['next-key', 'keyturn doctor, with the right passphrase'],
      ['server', 'keyturn doctor, once the server answers; --offline leaves it out'],
    ])
  })

  it('names a home that is older than its last rotation, which no publish fixes', async () => {
    const client = {
      getProduct: () => Promise.resolve({ log: { sn: 7, said: 'E-of-a-later-turn' } }),
    } as unknown as ReleaseServerClient
    const findings = await diagnose(await world.home(), {
      nowMs: Date.now(),
      deep: false,
      client,
      signal: world.signal,
    })
    expect(findings.filter(({ level }) => level === 'error')).toMatchObject([
      {
        check: 'server',
        message: expect.stringContaining('older than the last rotation') as string,
        mend: 'keyturn restore, from a newer backup',
      },
    ])
  })

  it('finds nothing wrong with a fresh home and a release', async () => {
    await world.release()
    expect(await faults()).toEqual([])
  })

  it('names what is wrong, each with the command that fixes it', async () => {
    const release = await world.release()
    await chmod(world.path('home', 'keystore'), 0o644)
    expect((await faults()).map(({ check, mend }) => [check, mend.split(' ')[0]])[0]).toEqual(['permissions', 'chmod'])
    await chmod(world.path('home', 'keystore'), 0o600)

    await truncate(join(release.tree, 'pack', 'data.m2p'), 3000)
    expect((await faults()).map(({ check }) => check)).toEqual(['archives'])
    await rm(join(release.folder, 'manifest.sigs.json'))
    expect((await faults()).map(({ check }) => check)).toEqual(['releases', 'archives'])

    const roles = world.path('home', 'roles', '1.json')
    await writeFile(roles, (await readFile(roles, 'utf8')).replace('"epoch": 1', '"epoch": 2'))
    expect((await faults()).map(({ check }) => check)).toContain('log')
  })
})
