import { spawn } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Journey } from '../support/journey.ts'

const ENGINE = import.meta.resolve('@keyturn/install-engine')
/** With what the app asks its shell to start it again. */
const RELAUNCH = 7

let journey: Journey
beforeEach(async () => {
  journey = await Journey.begin()
})
afterEach(() => journey.end())

const engine = (folder: string, server: string, trust: string): string => `
import { createEngine } from '${ENGINE}'
const engine = createEngine({
  folder: '${folder}', server: '${server}', trust: '${trust}', program: ['main.mjs'], target: 'linux',
})`

/**
 * The `main` of package.json: brings the app in `app` to the newest release, starts it, and starts again if it asks.
 */
const shell = (server: string, trust: string): string => `
${engine('app', server, trust)}
let exit
do {
  const started = await engine.launch({ stdio: ['ignore', 'inherit', 'inherit'] })
  exit = await started.exited
} while (exit.code === ${RELAUNCH})
`

/** The app: says which release it is, and asks for a restart when there is a newer one. */
const app = (release: number, server: string, trust: string): string => `
${engine('.', server, trust)}
console.log('release ${release}')
const { outcome } = await engine.update({ dryRun: true })
process.exit(outcome === 'updated' ? ${RELAUNCH} : 0)
`

/** Starts the app as a user does, with what Electron would run in its main process. */
async function start(): Promise<string> {
  const child = spawn(process.execPath, ['shell.mjs'], { cwd: journey.path('electron') })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (part: string) => (text += part))
  await new Promise((resolve) => child.once('close', resolve))
  return text
}

it('an Electron app that updates itself: also across a rotation of its keys, and without the server', async () => {
  await journey.open({ plain: ['**'], program: { linux: 'main.mjs' } })
  const { url } = journey.server
  const server = `${url}/p/my-game/`
  const trust = String((await journey.keyturn(['release', 'trust']))['pin'])
  await mkdir(journey.path('electron'))
  await writeFile(journey.path('electron/shell.mjs'), shell(server, trust))
  await journey.build({ 'main.mjs': app(1, server, trust) })
  await journey.keyturn(['ship', '--version-name', '1.0'])
  expect(await start()).toBe('release 1\n')
  await journey.keyturn(['rotate', 'release', '--revoke'])
  await journey.build({ 'main.mjs': app(2, server, trust) })
  await journey.keyturn(['ship', '--version-name', '2.0'])
  expect(await start()).toBe('release 2\n')
  await journey.server.stop()
  expect(await start()).toContain('release 2\n')
})
