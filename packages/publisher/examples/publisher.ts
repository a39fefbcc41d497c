// A home, a packed and signed release, and a rotation of its content key, all on this machine and without a terminal.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { activeContentKey, openHome } from '@keyturn/publisher'
import type { PublisherHost } from '@keyturn/publisher'
import { createHome } from '@keyturn/publisher/keys'
import { writeRuntimeKeyFile } from '@keyturn/publisher/records'
import { issueHead, packTree, prepareRelease, signRelease } from '@keyturn/publisher/release'
import {
  contentRotation,
  contentRotationSteps,
  planContentRotation,
  runHomeRotation,
} from '@keyturn/publisher/rotation'

const folder = await mkdtemp(join(tmpdir(), 'keyturn-publisher-'))
const homeFolder = join(folder, 'home')
const passphrase = new TextEncoder().encode('correct horse battery staple')
const cleanUps: (() => void | Promise<void>)[] = []
const host: PublisherHost = {
  homeFolder,
  signal: new AbortController().signal,
  clock: Date.now,
  dryRun: false,
  passphrase: () => Promise.resolve(passphrase.slice()),
  onStep: (_name, text) => console.log(text),
  warn: (text) => console.warn(text),
  defer: (cleanUp) => void cleanUps.push(cleanUp),
}
try {
  const names = { product: 'example', channel: 'stable', rolesDays: 365 }
  await createHome({ folder: homeFolder, ...names, passphrase, nextPassphrase: passphrase, clock: Date.now })
  const home = await openHome(host, { write: true })

  await mkdir(join(folder, 'source/data'), { recursive: true })
  await writeFile(join(folder, 'source/data/hello.txt'), 'hello')
  const tree = join(folder, 'tree')
  await packTree(home, { input: join(folder, 'source'), output: tree, signal: host.signal })
  await writeRuntimeKeyFile(home, tree, activeContentKey(home.description))
  const terms = { nowMs: Date.now(), signal: host.signal }
  const release = await signRelease(home, await prepareRelease(home, { tree, channel: 'stable', ...terms }))
  await issueHead(home, release, terms)
  console.log(`signed ${release.manifest.version} under content key ${activeContentKey(home.description).keyId}`)

  const options = { channel: 'stable', full: false, client: undefined, ...terms }
  const plan = await planContentRotation(home, options)
  await runHomeRotation(host, contentRotation, contentRotationSteps(home, plan, options), {
    folder: home.paths.journals,
  })
  console.log(
    `now ${activeContentKey(home.description).keyId}; players download ${plan.downloadBytesAtMost} bytes at most`,
  )
} finally {
  for (const cleanUp of cleanUps.toReversed()) await cleanUp()
  await rm(folder, { recursive: true, force: true })
}
