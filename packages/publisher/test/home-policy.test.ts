import { readFile, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { emptyMetadata } from '@keyturn/noise-keys/owner'
import { homePaths, readHome } from '../src/home.ts'
import type { HomeDescription } from '../src/home.ts'
import { transportPolicy } from '../src/transport/policy.ts'
import { HomeWorld } from './support/home-world.ts'

let world: HomeWorld
let description: HomeDescription
beforeAll(async () => {
  world = await HomeWorld.create()
  description = await readHome(world.path('home'))
})
afterAll(() => world.remove())

/** Reads the home with another policy in its description. */
async function withPolicy(policy: unknown): Promise<HomeDescription> {
  const file = homePaths(world.path('home')).description
  await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, 'utf8')), policy }))
  return await readHome(world.path('home'))
}

it.each([
  [{ transport: 0 }, /"policy.transport" is 0, expected whole days from 2 to 365/],
  [{ transport: 1 }, /from 2 to 365/],
  [{ transport: 366 }, /from 2 to 365/],
  [{ content: -1 }, /"policy.content" is -1, expected whole days from 0 to 3650/],
  [{ content: 1.5 }, /not strict JSON/],
  [{ head: '90' }, /"policy.head" is 90/],
  [{ identity: 1e9 }, /from 0 to 3650/],
  [{ vault: null }, /"policy.vault" is null/],
  [{ transprot: 30 }, /"policy.transprot" is not the name of a key: identity, release/],
  [[], /"policy" is not an object/],
])('refuses %j in home.json with CLI_HOME_FORMAT, naming the member', async (policy, message) => {
  await expect(withPolicy(policy)).rejects.toMatchObject({
    code: 'CLI_HOME_FORMAT',
    message: expect.stringMatching(message),
  })
})

it.each([undefined, {}, { content: 0, transport: 2 }, { transport: 365, identity: 3650 }])(
  'takes %j',
  async (policy) => {
    expect((await withPolicy(policy)).policy).toEqual(policy)
  },
)

it('refuses days that are too few for how early a transport key is announced', () => {
  const metadata = emptyMetadata('8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo', { prePublishS: 7 * 86_400 })
  const change = (): unknown => transportPolicy({ ...description, policy: { transport: 7 } }, metadata)
  expect(change).toThrow(expect.objectContaining({ code: 'CLI_HOME_FORMAT', message: expect.stringMatching(/7 days/) }))
})
