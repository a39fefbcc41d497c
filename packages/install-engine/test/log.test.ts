/** What `launcher.log` says to people, and which Node runs a script. */
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { layoutOf } from '../src/disk/layout.ts'
import { commandFor } from '../src/start/program.ts'
import { engineFor, temporaryFolder, treeFetch } from './support/install.ts'
import { Publisher } from './support/publisher.ts'

describe('launcher.log', () => {
  it('has a level in each line, names what was installed with its format, and warns of telemetry that fails', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'a.txt': 'one', 'b.txt': 'one' })
    const tree = treeFetch(publisher.tree)
    const { engine, folder } = await engineFor(publisher, {
      telemetryUrlTemplate: 'http://telemetry.test/{format}',
      fetch: (url, init) => (url.includes('telemetry') ? Promise.reject(new TypeError('no network')) : tree(url, init)),
    })
    await engine.update()
    publisher.tree.delete('channels/stable/head.json')
    await engine.update().catch(() => undefined)
    const read = async (): Promise<string[]> =>
      (await readFile(join(folder, '.updates/launcher.log'), 'utf8')).trimEnd().split('\n')
    await expect.poll(read).toContainEqual(expect.stringMatching(/ warn telemetry: /))
    const lines = await read()
    expect(lines.filter((line) => !/^\d{4}-\d\d-\d\dT[\d:.]+Z (info|warn|error) /.test(line))).toEqual([])
    expect(lines).toContainEqual(
      expect.stringMatching(/ info installed version=\S+ format=legacy-json-blob channel=stable .*writtenFiles=2/),
    )
  })
})

describe('a script as the client', () => {
  it('is run by the Node of this process; in a studio’s launcher by that of the machine, else refused (LA_PROGRAM)', async () => {
    const root = await temporaryFolder()
    await mkdir(join(root, 'bin'))
    await writeFile(join(root, 'bin/node'), '')
    await chmod(join(root, 'bin/node'), 0o755)
    const command = (env: Record<string, string>, isSingleExecutable?: boolean): string =>
      commandFor({
        layout: layoutOf(root),
        files: [],
        program: [join(root, 'game.mjs')],
        env,
        platform: 'linux',
        isSingleExecutable,
      }).file
    expect(command({})).toBe(process.execPath)
    expect(command({ PATH: `/nowhere:${join(root, 'bin')}` }, true)).toBe(join(root, 'bin/node'))
    expect(() => command({ PATH: '/nowhere' }, true)).toThrow(expect.objectContaining({ code: 'LA_PROGRAM' }))
  })
})
