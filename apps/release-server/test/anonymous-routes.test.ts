import { expect, it, vi } from 'vitest'
import { anonymousAttacks } from '../campaign/anonymous-attacks.ts'
import { startServer } from './support.ts'

const routes = vi.hoisted((): { call: string; scope: string | undefined }[] => [])

vi.mock('fastify', async (original) => {
  const { default: fastify } = await original<typeof import('fastify')>()
  return {
    default: (options: object) => {
      const app = fastify(options)
      app.addHook('onRoute', ({ method, url, config }) => {
        for (const each of [method].flat()) routes.push({ call: `${each} ${url}`, scope: config?.scope })
      })
      return app
    },
  }
})

it('the campaign of anonymous callers sends something to every route without a scope', async () => {
  await startServer({ vault: { passphrase: 'x', scryptLogN: 4 }, logWitness: { name: 'witness.example', logs: [] } })
  const open = routes.filter(({ scope }) => scope === undefined).map(({ call }) => call)
  const nothing = new Uint8Array(16)
  const attacks = anonymousAttacks({
    product: 'p',
    version: '1',
    blob: '/files',
    strange: nothing,
    short: nothing,
    own: [nothing],
    attester: 'E',
    attested: nothing,
    kill: nothing,
  })
  const attacked = new Set(attacks.flatMap((attack) => attack.routes))
  expect(open.length).toBeGreaterThan(30)
  expect([...attacked].toSorted()).toEqual(open.toSorted())
})
