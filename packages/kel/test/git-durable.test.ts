import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Kel, verifyLog } from '../src/index.ts'
import { gitStore, writeAuthsRegistry } from '../src/node/index.ts'
import { Actor } from './support/actors.ts'

const folder = mkdtempSync(join(tmpdir(), 'kel-durable-'))
const repo = join(folder, 'repo')
const trace = join(folder, 'trace')
const settings = join(folder, 'settings')
const before = process.env['GIT_CONFIG_GLOBAL']

/** How often git forced its files to the disk, by its own count, and the settings that say when it does. */
function flushes(): { readonly count: number; readonly commands: readonly string[] } {
  const events = readFileSync(trace, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const counts = events.filter(({ category, key }) => category === 'fsync' && String(key).endsWith('hardware-flush'))
  return {
    count: counts.reduce((sum, { value }) => sum + Number(value), 0),
    commands: events.filter(({ event }) => event === 'cmd_name').map(({ name }) => String(name)),
  }
}

beforeAll(() => {
  execFileSync('git', ['init', '--quiet', '--bare', repo])
  writeFileSync(settings, `[trace2]\n\teventTarget = ${trace}\n`)
  process.env['GIT_CONFIG_GLOBAL'] = settings
})
afterEach(() => rmSync(trace, { force: true }))
afterAll(() => {
  if (before === undefined) delete process.env['GIT_CONFIG_GLOBAL']
  else process.env['GIT_CONFIG_GLOBAL'] = before
  rmSync(folder, { recursive: true })
})

describe('a log in git', () => {
  it('is flushed to the disk, objects and ref, before an append returns', async () => {
    const actor = await Actor.start()
    const { prefix } = actor.state
    const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
    rmSync(trace, { force: true })
    await kel.append(actor.messages[0] as Uint8Array, 'local')
    const { count, commands } = flushes()
    expect(commands).toEqual(expect.arrayContaining(['fast-import', 'update-ref']))
    // Three blobs, the tree and the commit; then the ref.
    expect(count).toBeGreaterThanOrEqual(6)
  })

  it('is flushed in the registry of auths too', async () => {
    const actor = await Actor.start(7)
    await writeAuthsRegistry(repo, verifyLog(actor.log), { nowMs: 0 })
    expect(flushes().count).toBeGreaterThanOrEqual(6)
  })
})
