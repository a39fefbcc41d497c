import { spawnSync } from 'node:child_process'
import { expect, it } from 'vitest'
import { createTokenByCommand, MAIN, runServer } from './processes.ts'
import { temporaryFolder } from './support.ts'

it('token list and token revoke: a running server refuses a stolen token from the next request on', async () => {
  const environment = { KEYTURN_DATA_DIR: await temporaryFolder() }
  const command = (...args: string[]) =>
    spawnSync(process.execPath, ['--no-warnings', MAIN, '--json', 'token', ...args], {
      env: { PATH: process.env['PATH'] ?? '', ...environment },
      encoding: 'utf8',
    })
  const secret = await createTokenByCommand(environment)
  const server = await runServer(environment)
  const status = async (): Promise<number> =>
    (await fetch(`${server.url}/v1/tokens`, { headers: { authorization: `Bearer ${secret}` } })).status
  expect(await status()).toBe(200)
  const listed = JSON.parse(command('list').stdout) as {
    data: { items: { id: string; name: string; revoked_at: string | null }[] }
  }
  expect(listed.data.items).toMatchObject([{ name: 'test', revoked_at: null }])
  expect(JSON.stringify(listed)).not.toContain(secret)
  const id = listed.data.items[0]?.id ?? ''
  expect(JSON.parse(command('revoke', id).stdout)).toEqual({ ok: true, data: { id, revoked: true } })
  expect(await status()).toBe(401)
  const unknown = command('revoke', 'none')
  expect(unknown.status).not.toBe(0)
  expect(unknown.stdout + unknown.stderr).toContain('SRV_NOT_FOUND')
  await server.stop()
})

it('an error speaks to nobody’s terminal, whatever the setting that it names', async () => {
  const outcome = spawnSync(process.execPath, ['--no-warnings', MAIN, 'token', 'list'], {
    env: {
      PATH: process.env['PATH'] ?? '',
      KEYTURN_DATA_DIR: await temporaryFolder(),
      KEYTURN_PORT: '\u001b]0;owned\u0007',
    },
    encoding: 'utf8',
  })
  expect(outcome.status).not.toBe(0)
  expect(outcome.stderr).toContain('owned')
  // eslint-disable-next-line no-control-regex -- that there are none is the point
  expect(outcome.stderr.replaceAll('\n', '')).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/)
})
