import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { readdirSync, readFileSync, readlinkSync, lstatSync } from 'node:fs'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { flattenCommands } from '../src/command-tree.ts'
import type { CommandDescription } from '../src/command-tree.ts'
import { describeCommands } from '../src/describe-commands.ts'
import { commandTools } from '../src/mcp/tools.ts'
import type { CommandTool } from '../src/mcp/tools.ts'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

/** Where Node says that something of this process asks another machine. */
const CHANNELS = ['undici:request:create', 'http.client.request.start', 'net.client.socket']

let world: World
let tools: CommandTool[]
let commands: CommandDescription[]
/** What each reading tool is called with; a new one without a line here fails. */
let calls: Record<string, Record<string, unknown>>

beforeAll(async () => {
  world = await World.create()
  await world.startServer()
  await world.release()
  const { tree } = await world.release('changed')
  const archive = join(
    tree,
    readdirSync(tree, { recursive: true, encoding: 'utf8' }).find((name) => name.endsWith('.m2p')) ?? '',
  )
  await mkdir(world.path('work'))
  await writeFile(world.path('work', 'file.txt'), 'text')
  for (const args of [
    ['noise', 'publish'],
    ['id', 'init', '--alias', 'mine', '--next-key-file', world.path('work', 'next.key')],
    ['sign', world.path('work', 'file.txt'), '--alias', 'mine'],
    ['vault', 'init'],
    ['id', 'export', world.path('work', 'log.cesr')],
  ])
    expect(await command(world, args)).toMatchObject({ code: 0 })
  await writeFile(world.path('token'), world.token, { mode: 0o600 })
  const root = await describeCommands()
  commands = flattenCommands(root)
  tools = commandTools(root, false)
  calls = {
    status: {},
    doctor: { offline: true },
    explain: { code: 'M2P_SIGNATURE' },
    verify: { file: world.path('work', 'file.txt') },
    pack_list: { archive },
    pack_verify: { archive: [archive], jobs: 1 },
    pack_diff: { left: tree, right: tree },
    pack_inspect: { archive },
    id_show: { alias: 'mine' },
    id_log: { alias: 'mine' },
    id_check: { file: world.path('work', 'log.cesr') },
    id_witness_list: { alias: 'mine' },
    roles_show: { document: 1 },
    release_list: { remote: true },
    release_show: {},
    release_diff: { from: (await command(world, ['release', 'show'])).data['version'] },
    release_trust: {},
    release_verify: {},
    release_verify_public: { blobs: 2 },
    device_list: {},
    emergency_report: { events: 5 },
    noise_status: {},
    noise_plan: { interval: 30 },
    noise_audit: { from: [`${world.url}/pkarr`] },
    noise_derive: { epoch: 3, generation: 'G1' },
    vault_status: {},
    vault_list: { cell: 'keyturn' },
    vault_audit_verify: {},
    vault_audit_list: { last: 5 },
  }
})
afterAll(async () => {
  await world.remove()
})

/** Every file and folder but those of the server: names, modes, times and contents in one digest. */
function digestOf(): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(world.folder, { recursive: true, encoding: 'utf8' }).sort()) {
    if (name === 'server' || name.startsWith('server/')) continue
    const place = join(world.folder, name)
    const found = lstatSync(place)
    hash.update(`${name} ${found.mode} ${found.isFile() ? found.mtimeMs : ''}\0`)
    if (found.isFile()) hash.update(readFileSync(place))
    if (found.isSymbolicLink()) hash.update(readlinkSync(place))
  }
  return hash.digest('hex')
}

/** Runs a tool as a client would; the server is named when `keyturn mcp` starts. */
async function call(name: string): Promise<Answer> {
  const words = tools.find((tool) => tool.name === name)?.argv(calls[name] ?? {}) ?? []
  const { path, flags } = commands.find((each) => each.path.replaceAll(/[ -]/g, '_') === name) ?? {
    path: '',
    flags: [],
  }
  const verbs = path.split(' ')
  const has = (flag: string): boolean => flags.some(({ long }) => long === flag)
  const server = [
    ...(has('--server') ? ['--server', world.url] : []),
    ...(has('--token-file') ? ['--token-file', world.path('token')] : []),
  ]
  return await command(world, [...verbs, ...server, ...words.slice(verbs.length)])
}

describe('a tool that says it only reads', () => {
  it('changes no file of anyone, and ends well when it is called as its schema says', async () => {
    expect(Object.keys(calls).toSorted()).toEqual(tools.map(({ name }) => name).toSorted())
    for (const { name } of tools) {
      const before = digestOf()
      const { code, error } = await call(name)
      expect([name, code, error]).toEqual([name, expect.toBeOneOf([0, 1]), undefined])
      expect(digestOf(), name).toBe(before)
    }
  })

  it('reaches nothing but this machine unless it says so', async () => {
    const asked: unknown[] = []
    const note = (message: unknown): void => void asked.push(message)
    for (const channel of CHANNELS) subscribe(channel, note)
    try {
      for (const { name } of tools.filter(({ usesNetwork }) => !usesNetwork)) {
        await call(name)
        expect(asked, name).toEqual([])
      }
      await call('release_list')
      expect(asked).not.toEqual([])
    } finally {
      for (const channel of CHANNELS) unsubscribe(channel, note)
    }
  })
})
