import { createServer } from 'node:http'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readFileSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, dataOf, keyturn } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { World } from './support/world.ts'

let world: World
let server: Server
let url = ''
let received: Record<string, unknown>[] = []

beforeEach(async () => {
  world = await World.create()
  received = []
  server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => {
      body += text
    })
    request.on('end', () => {
      received.push(JSON.parse(body) as Record<string, unknown>)
      response.writeHead(request.url === '/broken' ? 500 : 204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterEach(async () => {
  server.close()
  await world.remove()
})

function run(...args: readonly string[]): Promise<Outcome> {
  const own = ['--home', world.path('home'), '--passphrase-file', world.path('passphrase'), '--json', '--yes']
  return keyturn([...args, ...own])
}

describe('keyturn noise contacts', () => {
  it('notifies addresses and programs of what changed, and names whom it could not reach', async () => {
    const [script, out] = [world.path('peers.cjs'), world.path('peers.json')]
    writeFileSync(script, `require('fs').writeFileSync(process.argv[2], require('fs').readFileSync(0))`)
    const program = ['--exec', process.execPath, '--arg', script, '--arg', out]
    const added = dataOf(
      await run('noise', 'contacts', '--webhook', `${url}/keys`, '--webhook', `${url}/broken`, ...program),
    )
    expect(added['contacts']).toMatchObject([{ kind: 'webhook' }, { kind: 'webhook' }, { kind: 'command' }])
    const published = await run('noise', 'publish')
    expect(dataOf(published)['notified']).toEqual([
      { contact: `${url}/keys`, problem: null },
      { contact: `${url}/broken`, problem: 'it answers 500' },
      { contact: `${process.execPath} ${script} ${out}`, problem: null },
    ])
    expect(published.stderr).toContain(`${url}/broken was not notified`)
    const { identity } = dataOf(published)
    const notice = { type: 'keyturn.transport-keys', schema: 1, identity, order: 'turn', active: { device: 'server' } }
    expect(received).toEqual([expect.objectContaining({ ...notice, active: expect.anything() }), expect.anything()])
    expect(JSON.parse(readFileSync(out, 'utf8'))).toMatchObject(notice)
    dataOf(await run('noise', 'contacts', '--remove', `${url}/broken`))
    dataOf(await run('noise', 'revoke', 'server', '--reason', 'lost', '--replace'))
    expect(JSON.parse(readFileSync(out, 'utf8'))).toMatchObject({
      order: 'revocation',
      active: { device: 'server-v2' },
    })
  })

  it('changes nothing in a dry run, refuses what is not a contact, and a damaged list', async () => {
    expect(dataOf(await run('noise', 'contacts', '--webhook', url, '--dry-run'))).toMatchObject({ dry_run: true })
    expect(dataOf(await run('noise', 'contacts'))).toEqual({ contacts: [] })
    for (const flags of [
      ['--webhook', 'ftp://x'],
      ['--arg', 'x'],
      ['--remove', 'nobody'],
    ])
      expect(codeOf(await run('noise', 'contacts', ...flags))).toBe('CLI_USAGE')
    dataOf(await run('noise', 'contacts', '--webhook', url))
    writeFileSync(world.path('home', 'transport', 'contacts.json'), '{"format":"keyturn-contacts","contacts":[{}]}')
    expect(codeOf(await run('noise', 'contacts'))).toBe('CLI_HOME_FORMAT')
  })
})
