import { fileURLToPath } from 'node:url'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { describeCommands } from '../src/command-tree.ts'
import { commandTools } from '../src/mcp/tools.ts'
import { World } from './support/world.ts'

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url))
let world: World
beforeEach(async () => { world = await World.create() })
afterEach(async () => { await world.remove() })

async function connect(...flags: string[]): Promise<Client> {
  const client = new Client({ name: 'test', version: '1.0.0' })
  await client.connect(new StdioClientTransport({
    command: process.execPath, stderr: 'ignore',
    args: ['--no-warnings', main, 'mcp', '--home', world.path('home'), '--passphrase-file', world.path('passphrase'), ...flags],
  }))
  return client
}

interface Envelope { ok: boolean; command: string; data?: Record<string, unknown>; error?: { code: string } }

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
      expect(names).toEqual(expect.arrayContaining(['status', 'doctor', 'explain', 'pack_verify', 'release_list', 'pack_binary_info']))
      expect(names).not.toContain('rotate_content')
      expect(await call(client, 'status', {})).toMatchObject({ ok: true, command: 'status', data: { product: 'test' } })
      expect(await call(client, 'explain', { code: 'M2P_SIGNATURE' })).toMatchObject({ ok: true, data: { exit: 4 } })
      expect(await call(client, 'explain', { code: '--json' })).toMatchObject({ ok: false, error: { code: 'CLI_CODE_UNKNOWN' } })
      expect(await call(client, 'doctor', { offline: true })).toMatchObject({ ok: true, data: { errors: 0 } })
      expect((await client.callTool({ name: 'status', arguments: { nope: 1 } })).isError).toBe(true)
    } finally {
      await client.close()
    }
  })

  it('changes something only with --allow-write', async () => {
    const client = await connect('--allow-write')
    try {
      const tools = new Map((await client.listTools()).tools.map((tool) => [tool.name, tool]))
      for (const name of ['pack_verify', 'pack_extract', 'pack_export_client_config', 'pack_export_runtime_key', 'pack_binary_info']) expect([...tools.keys()]).toContain(name)
      expect(tools.get('rotate_content')?.annotations?.readOnlyHint).toBe(false)
      expect(await call(client, 'rotate_content', { dry_run: true })).toMatchObject({ ok: true, data: { to_key_id: 2 } })
      expect(await call(client, 'rotate_content', {})).toMatchObject({ ok: true, data: { to_key_id: 2 } })
      expect((await world.home()).description.contentKeys).toHaveLength(2)
    } finally {
      await client.close()
    }
  })
})

describe('commandTools()', () => {
  it('puts flags and arguments where no value can become a flag', async () => {
    const tool = commandTools(await describeCommands(), false).find(({ name }) => name === 'explain')
    expect(tool?.argv({ code: '--help' })).toEqual(['explain', '--', '--help'])
  })
})
