import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { World } from './support/world.ts'

let world: World
const home = (): string => world.path('home')
const run = (...args: readonly string[]): Promise<Answer> => command(world, args)

beforeAll(async () => {
  world = await World.create()
  await world.release()
  writeFileSync(world.path('secret'), 'a secret of CI')
  for (const args of [
    ['vault', 'init'],
    ['vault', 'seal', 'ci', 'token', world.path('secret')],
    ['id', 'init', '--alias', 'laptop'],
    ['noise', 'publish'],
    ['backup', world.path('all.backup')],
  ])
    expect(await run(...args), args.join(' ')).toMatchObject({ code: 0 })
})
afterAll(async () => {
  await world.remove()
})

/** Files whose loss or damage costs nothing: caches, copies, what is made again. */
const SPARE = [
  /lock$/,
  /\.previous$/,
  // What was made, for people: a rotation makes the next; a note of a backup; what may be published again.
  /^transport\/published\//,
  /^backup\.json$/,
  /^restored\.json$/,
  // Written when a release is prepared, read by nothing after that but `release publish`, which says so.
  /\/index\//,
  /^vault\/audit/,
]

/** Damages that leave a state which is as it may be. */
const LEGAL = [
  // The next key belongs on another medium; a head or a channel may not be made yet.
  'next-identity.keystore lost',
  'heads/stable.json lost',
  'heads/stable.waiting.json lost',
  // A date, which is only shown, is another date.
  'home.json flipped',
  // A time or a number that only orders what is published.
  'transport/keys.json flipped',
  // The end of a log that was cut is a write that never ended.
  'vault/segment-00000001.log cut',
]

function files(): string[] {
  return readdirSync(home(), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(home(), join(entry.parentPath, entry.name)))
    .filter((name) => !SPARE.some((pattern) => pattern.test(name)))
    .toSorted()
}

/** What doctor finds wrong, beyond what it always says of this home; all of it when the home does not open at all. */
async function complaints(): Promise<string[]> {
  const { data, error } = await run('doctor', '--offline', '--deep')
  const findings = (data?.['findings'] ?? []) as { level: string; check: string; message: string }[]
  const said = findings.filter(({ level }) => level !== 'ok').map(({ check, message }) => `${check}: ${message}`)
  const news = said.filter((line) => !always.has(line))
  return error !== undefined && news.length === 0 ? [error.code] : news
}

let always: ReadonlySet<string> = new Set()

/** Does one damage, asks doctor, and undoes it. */
async function saysSound(name: string, damage: (bytes: Buffer) => Buffer | undefined): Promise<boolean> {
  const path = join(home(), name)
  const [bytes, { mode }] = [readFileSync(path), statSync(path)]
  const damaged = damage(Buffer.from(bytes))
  if (damaged === undefined) rmSync(path)
  else writeFileSync(path, damaged, { mode })
  try {
    return (await complaints()).length === 0
  } finally {
    writeFileSync(path, bytes, { mode })
  }
}

describe('keyturn doctor', () => {
  it('never says "Sound" over damage: one file lost, cut or with one byte flipped at a time', async () => {
    expect(await run('doctor', '--offline', '--deep')).toMatchObject({ code: 0 })
    always = new Set(await complaints())
    const unnoticed: string[] = []
    for (const name of files()) {
      const flip = (bytes: Buffer): Buffer => {
        const at = Math.floor(bytes.length / 2)
        bytes[at] = (bytes[at] ?? 0) ^ 0x01
        return bytes
      }
      const damages: [string, (bytes: Buffer) => Buffer | undefined][] = [
        ['lost', () => undefined],
        ['cut', (bytes) => bytes.subarray(0, bytes.length >> 1)],
        ['flipped', flip],
      ]
      for (const [what, damage] of damages)
        if (!LEGAL.includes(`${name} ${what}`) && (await saysSound(name, damage))) unnoticed.push(`${name} ${what}`)
    }
    expect(unnoticed).toEqual([])
  })
})
