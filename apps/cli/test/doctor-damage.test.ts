import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { openKeystore } from '@keyturn/keystore/node'
import { changeKeyFilePassphrase } from '@keyturn/vault-kdf/node'
import { readReleases } from '@keyturn/publisher/records'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { agentProblem, removeLeftSocket } from '../src/agent/left-behind.ts'
import { agentAddress, makeRuntimeFolder } from '../src/agent/runtime-folder.ts'
import { command } from './support/command.ts'
import type { Answer } from './support/command.ts'
import { SERVER } from './support/program.ts'
import { World } from './support/world.ts'

let world: World
const home = (): string => world.path('home')
const run = (...args: readonly string[]): Promise<Answer> => command(world, args)

/** A release is scheduled, so that there are sealed files, a key of their own, and a head that names them. */
async function schedule(): Promise<void> {
  const tree = world.path('trees', 'next')
  await world.source('the next one')
  const hour = `${new Date(Date.now() + 3_600_000).toISOString().slice(0, 19)}Z`
  for (const args of [
    ['pack', 'tree', '--input', world.path('source'), '--output', tree, '--level', '1'],
    ['release', 'prepare', tree, '--release', 'next'],
    ['release', 'schedule', 'next', '--at', hour],
  ])
    expect(await run(...args), args.join(' ')).toMatchObject({ code: 0 })
}

/** Commands make keys that cost half a second to open; doctor opens them all, two hundred times. */
async function makeCheap(): Promise<void> {
  const passphrase = readFileSync(world.path('passphrase'), 'utf8').trim()
  const keystores = readdirSync(join(home(), 'identities'), { recursive: true, encoding: 'utf8' })
  for (const name of keystores.filter((path) => path.endsWith('keystore'))) {
    const store = await openKeystore(join(home(), 'identities', name), passphrase, { scryptLogN: 4 })
    await store.changePassphrase(passphrase)
    store.close()
  }
  await changeKeyFilePassphrase(join(home(), 'vault/vault.key'), passphrase, passphrase, { scryptLogN: 4 })
}

beforeAll(async () => {
  world = await World.create()
  await world.connect()
  await world.release()
  await schedule()
  writeFileSync(world.path('secret'), 'a secret of CI')
  for (const args of [
    ['vault', 'init'],
    ['vault', 'seal', 'ci', 'token', world.path('secret')],
    ['id', 'init', '--alias', 'laptop'],
    ['noise', 'publish'],
    ['noise', 'contacts', '--webhook', 'https://hooks.example.org/keys'],
  ])
    expect(await run(...args), args.join(' ')).toMatchObject({ code: 0 })
  await makeCheap()
  expect(await run('backup', '--all', world.path('all.backup'))).toMatchObject({ code: 0 })
  always = new Set((await complaints()).map(({ text }) => text))
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
  // What a source hashed to; what does not read as written is hashed again.
  /^cache\//,
]

/** Damages that leave a state which is as it may be. */
const LEGAL = [
  // The next key belongs on another medium; a head or a channel may not be made yet.
  'next-identity.keystore lost',
  'heads/stable.json lost',
  'heads/stable.waiting.json lost',
  // A date, which is only shown, is another date.
  'home.json flipped',
  // Nobody is notified: nothing else says that somebody was to be.
  'transport/contacts.json lost',
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

/** What doctor says, and the command that it names. */
interface Complaint {
  readonly text: string
  readonly fix: string
}

/** What doctor finds wrong, beyond what it always says of this home; its hint when the home does not open at all. */
async function complaints(): Promise<Complaint[]> {
  const { data, error } = await run('doctor', '--offline', '--deep', '--data', world.path('server'))
  const findings = (data?.['findings'] ?? []) as { level: string; check: string; message: string; mend: string }[]
  const said = findings
    .filter(({ level }) => level !== 'ok')
    .map(({ check, message, mend }) => ({ text: `${check}: ${message}`, fix: mend }))
  const news = said.filter(({ text }) => !always.has(text))
  return error !== undefined && news.length === 0 ? [{ text: error.code, fix: error.hint ?? '' }] : news
}

/** Runs a command that doctor named, where it is complete. */
async function follow(fix: string): Promise<boolean> {
  const [line = ''] = fix.split('; ')
  if (!/^(?:keyturn|rm|chmod|chown) /.test(line) || /[A-Z]{4}|, /.test(line.replaceAll(/'[^']*'/g, ''))) return false
  if (line === 'keyturn restore') return false
  const words = line.match(/'[^']*'|\S+/g)?.map((word) => word.replaceAll("'", '')) ?? []
  if (words[0] === 'keyturn') expect(await run(...words.slice(1)), line).toMatchObject({ code: 0 })
  else execFileSync('sh', ['-c', line])
  return true
}

let always: ReadonlySet<string> = new Set()

/** Does one damage, asks doctor, and undoes it. */
async function damaged(name: string, damage: (bytes: Buffer) => Buffer | undefined): Promise<Complaint[]> {
  const path = join(home(), name)
  const [bytes, { mode }] = [readFileSync(path), statSync(path)]
  const left = damage(Buffer.from(bytes))
  if (left === undefined) rmSync(path)
  else writeFileSync(path, left, { mode })
  try {
    return await complaints()
  } finally {
    writeFileSync(path, bytes, { mode })
  }
}

describe('keyturn doctor', () => {
  it('never says "Sound" over damage: one file lost, cut or with one byte flipped at a time', async () => {
    expect(await run('doctor', '--offline', '--deep')).toMatchObject({ code: 0 })
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
      for (const [what, damage] of damages) {
        if (LEGAL.includes(`${name} ${what}`)) continue
        const found = await damaged(name, damage)
        if (!found.some(({ fix }) => fix !== ''))
          unnoticed.push(`${name} ${what}${found.map(({ text }) => `: ${text}, without a command`).join('')}`)
      }
    }
    expect(unnoticed).toEqual([])
  })

  it.skipIf(process.platform === 'win32')(
    'never says "Sound" over permissions and owners, and the commands it names fix them',
    async () => {
      const at = (...parts: string[]): string => world.path(...parts)
      const isRoot = process.getuid?.() === 0
      const paths = [at('home', 'transport/contacts.json'), at('home', 'roles/1.json'), at('server', 'blobs/files')]
      for (const path of paths) {
        const { mode, uid, gid } = statSync(path)
        const damages: [string, () => void][] = [
          ['open', () => chmodSync(path, mode | 0o066)],
          ...(isRoot ? [['given away', () => chownSync(path, 4711, gid)] satisfies [string, () => void]] : []),
        ]
        for (const [what, damage] of damages) {
          damage()
          try {
            const found = await complaints()
            expect(found.length, `${path} ${what}`).toBeGreaterThan(0)
            const followed = []
            for (const { fix } of found) if (await follow(fix)) followed.push(fix)
            expect(followed.length, `${path} ${what}`).toBeGreaterThan(0)
            expect(await complaints(), `${path} ${what}`).toEqual([])
          } finally {
            chownSync(path, uid, gid)
            chmodSync(path, mode)
          }
        }
      }
    },
  )

  it('names the commands that bring back a file of a release that the server lost', async () => {
    const folder = world.path('server')
    const { files } = (await readReleases((await world.home()).paths, 'stable'))[0]?.manifest ?? { files: [] }
    const { sha256 = '' } = files.find(({ path }) => path.endsWith('data.m2p')) ?? {}
    rmSync(join(folder, 'blobs/files', sha256.slice(0, 2), sha256))
    const lost = await complaints()
    expect(lost).toMatchObject([{ fix: `keyturn-server --data '${folder}' fsck; keyturn release publish` }])
    // It ends with an error: it found the same, and forgets what is lost.
    const fsck = spawnSync(process.execPath, [SERVER, '--data', folder, 'fsck'], { encoding: 'utf8' })
    expect(fsck.stderr).toContain('BLOB_CORRUPT')
    expect(await run('release', 'publish')).toMatchObject({ code: 0 })
    expect(await complaints()).toEqual([])
  })

  it('finds what an agent that was killed left, and "keyturn lock" removes it', async () => {
    const env = { XDG_RUNTIME_DIR: world.path('run') }
    mkdirSync(env.XDG_RUNTIME_DIR, { mode: 0o700 })
    const place = { homeFolder: home(), env }
    const address = agentAddress(place)
    makeRuntimeFolder(dirname(address))
    const kill = "() => process.kill(process.pid, 'SIGKILL')"
    const listen = `require('net').createServer().listen(${JSON.stringify(address)}, ${kill})`
    spawnSync(process.execPath, ['-e', listen])
    chmodSync(address, 0o600)
    expect(await agentProblem(place)).toMatchObject({ level: 'warning', fix: 'keyturn lock' })
    removeLeftSocket(place)
    expect(await agentProblem(place)).toBeUndefined()
    writeFileSync(address, '')
    expect(await agentProblem(place)).toMatchObject({ level: 'error', fix: `rm -r '${address}'` })
    chmodSync(dirname(address), 0o755)
    expect(await agentProblem(place)).toMatchObject({ level: 'error', fix: `chmod 700 '${dirname(address)}'` })
  })

  it('names a command that ends a schedule whose files are lost, and one that schedules it again', async () => {
    const head = join(home(), 'heads/stable.json')
    const tree = join(home(), 'trees/stable/.sealed-next')
    rmSync(join(tree, 'pack/data.m2p'))
    const lost = await complaints()
    expect(lost).toMatchObject([{ fix: 'keyturn release schedule next --cancel --channel stable' }])
    expect(await follow(lost[0]?.fix ?? '')).toBe(true)
    expect(await complaints()).toEqual([])
    expect(readFileSync(head, 'utf8')).not.toContain('preload')
  })

  it('is right about a home that came out of the backup it names', async () => {
    const other = world.path('restored')
    const args = ['restore', world.path('all.backup'), '--home', other]
    expect(await command(world, args, { home: other })).toMatchObject({ code: 0 })
    const { code, data } = await command(world, ['doctor', '--offline', '--deep'], { home: other })
    expect({ code, data }).toMatchObject({ code: 0 })
  })
})
