import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { flattenCommands } from '../src/command-tree.ts'
import { describeCommands } from '../src/describe-commands.ts'
import { commandTools } from '../src/mcp/tools.ts'
import type { ToolSchema } from '../src/mcp/tools.ts'
import { World } from './support/world.ts'
import { MAIN } from './support/program.ts'

const commandFolder = fileURLToPath(new URL('../src/commands', import.meta.url))
let world: World
beforeEach(async () => {
  world = await World.create()
})
afterEach(async () => {
  await world.remove()
})

async function connect(...flags: string[]): Promise<Client> {
  const client = new Client({ name: 'test', version: '1.0.0' })
  await client.connect(
    new StdioClientTransport({
      command: process.execPath,
      stderr: 'ignore',
      args: [
        '--no-warnings',
        MAIN,
        'mcp',
        '--home',
        world.path('home'),
        '--passphrase-file',
        world.path('passphrase'),
        ...flags,
      ],
    }),
  )
  return client
}

interface Envelope {
  ok: boolean
  command: string
  data?: Record<string, unknown>
  error?: { code: string }
}

async function call(client: Client, name: string, args: Record<string, unknown>): Promise<Envelope> {
  const { content } = await client.callTool({ name, arguments: args })
  const [first] = content as { type: string; text: string }[]
  return JSON.parse(first?.text ?? '') as Envelope
}

describe('keyturn mcp', () => {
  it('offers what reads, and answers with the same envelopes as the command line', async () => {
    const client = await connect()
    try {
      const names = (await client.listTools()).tools.map(({ name }) => name)
      expect(names).toEqual(
        expect.arrayContaining(['status', 'doctor', 'explain', 'pack_verify', 'release_list', 'pack_binary_info']),
      )
      expect(names).not.toContain('rotate_content')
      expect(await call(client, 'status', {})).toMatchObject({ ok: true, command: 'status', data: { product: 'test' } })
      expect(await call(client, 'explain', { code: 'M2P_SIGNATURE' })).toMatchObject({ ok: true, data: { exit: 4 } })
      expect(await call(client, 'explain', { code: '--json' })).toMatchObject({
        ok: false,
        error: { code: 'CLI_CODE_UNKNOWN' },
      })
      expect(await call(client, 'doctor', { offline: true })).toMatchObject({ ok: true, data: { errors: 0 } })
      for (const [name, args] of [
        ['status', { nope: 1 }],
        ['pack_verify', {}],
        ['roles_show', { document: 'one' }],
      ] as const)
        expect((await client.callTool({ name, arguments: args })).isError, name).toBe(true)
      expect(await call(client, 'roles_show', { document: 1 })).toMatchObject({ ok: true })
    } finally {
      await client.close()
    }
  })

  it('changes something only with --allow-write', async () => {
    const client = await connect('--allow-write')
    try {
      const tools = new Map((await client.listTools()).tools.map((tool) => [tool.name, tool]))
      for (const name of [
        'pack_verify',
        'pack_extract',
        'pack_export_client_config',
        'pack_export_runtime_key',
        'pack_binary_info',
      ])
        expect([...tools.keys()]).toContain(name)
      expect(tools.get('rotate_content')?.annotations?.readOnlyHint).toBe(false)
      expect(await call(client, 'rotate_content', { dry_run: true })).toMatchObject({
        ok: true,
        data: { to_key_id: 2 },
      })
      expect(await call(client, 'rotate_content', {})).toMatchObject({ ok: true, data: { to_key_id: 2 } })
      expect((await world.home()).description.contentKeys).toHaveLength(2)
    } finally {
      await client.close()
    }
  })
})

describe('commandTools()', () => {
  it('has a tool for every command but those that talk to a person or go on, and none that writes unless allowed', async () => {
    const root = await describeCommands()
    const commands = flattenCommands(root)
      .filter(({ path, commands: below }) => path !== '' && below.length === 0)
      .map(({ path }) => path.replaceAll(/[ -]/g, '_'))
    const all = commandTools(root, true)
    expect(commands.filter((name) => !all.some((tool) => tool.name === name))).toEqual(
      ['demo', 'drill', 'launch', 'serve', 'mcp', 'completion', 'vault_shares_make', 'vault_shares_use'].toSorted(
        (a, b) => commands.indexOf(a) - commands.indexOf(b),
      ),
    )
    // A new command is a writing one until it is written down here and in mcp/tools.ts.
    expect(
      commandTools(root, false)
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual([
      'device_list',
      'doctor',
      'emergency_report',
      'explain',
      'id_check',
      'id_log',
      'id_show',
      'id_witness_list',
      'noise_audit',
      'noise_derive',
      'noise_plan',
      'noise_status',
      'pack_diff',
      'pack_inspect',
      'pack_list',
      'pack_verify',
      'release_diff',
      'release_list',
      'release_show',
      'release_trust',
      'release_verify',
      'release_verify_public',
      'roles_show',
      'status',
      'vault_audit_list',
      'vault_audit_verify',
      'vault_list',
      'vault_status',
      'verify',
    ])
    expect(all.filter(({ reads }) => reads)).toHaveLength(commandTools(root, false).length)
  })

  it('leaves out of reading tools what writes a file or shows a secret, and offers dry_run where it is honoured', async () => {
    const root = await describeCommands()
    const flags = (name: string, allowWrite: boolean): string[] =>
      Object.keys(commandTools(root, allowWrite).find((tool) => tool.name === name)?.schema.properties ?? {})
    expect(flags('status', false)).not.toContain('ics')
    expect(flags('status', true)).toContain('ics')
    expect(flags('noise_derive', false)).not.toContain('show_secret')
    expect(flags('rotate_content', true)).toContain('dry_run')
    expect(flags('pack_build', true)).not.toContain('dry_run')
  })

  it('puts flags and arguments where no value can become a flag', async () => {
    const tool = commandTools(await describeCommands(), false).find(({ name }) => name === 'explain')
    expect(tool?.argv({ code: '--help' })).toEqual(['explain', '--', '--help'])
  })

  it('lets no client say where a token or a secret file goes, and says which tools ask a server', async () => {
    const tools = commandTools(await describeCommands(), true)
    const offered = tools.flatMap(({ schema }) => Object.keys(schema.properties))
    for (const name of [
      'server',
      'token_file',
      'passphrase_file',
      'passphrase_fd',
      'new_passphrase_file',
      'insecure_http',
    ])
      expect(offered).not.toContain(name)
    const asking = tools.filter(({ usesNetwork }) => usesNetwork).map(({ name }) => name)
    expect(asking).toEqual(
      expect.arrayContaining([
        'release_publish',
        'release_list',
        'doctor',
        'noise_audit',
        'id_rotate',
        'launcher_build',
      ]),
    )
    expect(asking).not.toContain('pack_verify')
  })

  it('asks for numbers as numbers, for lists as lists, and for what a command cannot do without', async () => {
    const tools = commandTools(await describeCommands(), true)
    const schemaOf = (name: string): ToolSchema | undefined => tools.find((tool) => tool.name === name)?.schema
    const build = schemaOf('pack_build')
    expect(build?.required.toSorted()).toEqual(['input', 'key', 'output', 'sign_secret_key'])
    expect(build?.properties['key_id']?.type).toBe('integer')
    expect(schemaOf('pack_verify')).toMatchObject({
      required: ['archive'],
      properties: { archive: { type: 'array', items: { type: 'string' } }, jobs: { type: 'integer' } },
    })
    expect(schemaOf('vault_retire')).toMatchObject({
      required: ['version'],
      properties: { version: { type: 'integer' } },
    })
    expect(schemaOf('release_verify_public')?.properties['blobs']?.type).toEqual(['integer', 'string'])
    // What the sources read as a whole number is one in every schema.
    const sources = readdirSync(commandFolder, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.ts'),
    )
    const numeric = new Set(
      sources.flatMap((name) =>
        [
          ...readFileSync(join(commandFolder, name), 'utf8').matchAll(
            /(?:wholeNumber|powerOfTwo)\([^']*'--([a-z-]+)'/g,
          ),
        ].map(([, flag = '']) => flag.replaceAll('-', '_')),
      ),
    )
    expect(numeric.size).toBeGreaterThan(15)
    for (const { name, schema } of tools) {
      for (const [property, { type }] of Object.entries(schema.properties))
        if (numeric.has(property))
          expect([name, property, [type].flat()]).toEqual([name, property, expect.arrayContaining(['integer'])])
    }
  })

  it('takes numbers and lists to the command line as it reads them', async () => {
    const tools = commandTools(await describeCommands(), true)
    const argv = (name: string, args: Record<string, unknown>): string[] | undefined =>
      tools.find((tool) => tool.name === name)?.argv(args)
    expect(argv('pack_verify', { archive: ['a', '--help'], key_id: 4 })).toEqual([
      'pack',
      'verify',
      '--archive=a',
      '--archive=--help',
      '--key-id=4',
    ])
    expect(argv('vault_retire', { version: 1 })).toEqual(['vault', 'retire', '--', '1'])
  })
})
