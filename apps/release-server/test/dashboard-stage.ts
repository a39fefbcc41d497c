import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createTransportIdentity } from '@keyturn/noise-keys'
import {
  addKey,
  afterPublication,
  cutOver,
  deriveX25519Static,
  draftPublication,
  emptyMetadata,
  publish,
  signPublication,
} from '@keyturn/noise-keys/owner'
import type { TransportMetadata } from '@keyturn/noise-keys/owner'
import { ed25519PublicKey, hexEncode, systemRandom, utf8Encode, x25519PublicKey } from '@keyturn/primitives'
import { chromium } from 'playwright-core'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll } from 'vitest'
import type { ReleaseServerClient } from '@keyturn/release-client'
import type { ReleaseServerOptions } from '../src/server.ts'
import { day, seedOf, TestPublisher } from './publisher.ts'
import type { MadeRelease } from './publisher.ts'
import { atEnd, someBytes, startServer } from './support.ts'
import type { RunningServer } from './support.ts'

/** A browser of this machine, where there is one. */
export const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  (path) => existsSync(path),
)
if (executablePath === undefined) console.info('No Chromium here: the dashboard is not tested')

const shots =
  process.env['KEYTURN_SCREENSHOTS'] ?? fileURLToPath(new URL('../test-results/screenshots', import.meta.url))

let browser: Browser | undefined
beforeAll(async () => {
  if (executablePath !== undefined) browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
})
afterAll(() => browser?.close())

/** Keeps a picture of the page beside the results of the tests. */
export async function shot(page: Page, name: string): Promise<void> {
  mkdirSync(shots, { recursive: true })
  await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true })
}

/** A page in a browser context of its own, and what went wrong in it. */
export async function openPage(options: BrowserContextOptions = {}): Promise<{ page: Page; problems: string[] }> {
  const context = await (browser as Browser).newContext({ reducedMotion: 'reduce', ...options })
  atEnd(() => context.close())
  const page = await context.newPage()
  const problems: string[] = []
  page.on('pageerror', (error) => problems.push(String(error)))
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().includes('401')) problems.push(message.text())
  })
  return { page, problems }
}

const contentKey = (id: number, status: 'active' | 'retired') => ({
  keyId: id,
  verifierPub: hexEncode(ed25519PublicKey(seedOf(`verifier ${id}`))),
  commitment: hexEncode(new Uint8Array(32).fill(id)),
  status,
})

/** Two transport keys, the older one in its overlap. */
async function publishTransportKeys(
  running: RunningServer,
  client: ReleaseServerClient,
  identity: ReturnType<typeof createTransportIdentity>,
  now: () => number,
): Promise<void> {
  let metadata: TransportMetadata = emptyMetadata(identity.name)
  const announce = async (): Promise<void> => {
    const signed = signPublication(identity.seed, draftPublication(metadata, Math.floor(now() / 1000)))
    await publish((await running.client(['admin'])).keyDirectory(), signed, 'turn')
    metadata = afterPublication(metadata, signed)
  }
  for (const device of ['server', 'server-2']) {
    const secret = deriveX25519Static(identity.seed, device)
    metadata = addKey(
      metadata,
      { device, publicKey: x25519PublicKey(secret), generation: 'G2' },
      Math.floor(now() / 1000),
      Math.floor(now() / 1000),
    )
    await client.putTransportKey(identity.name, device, secret)
    await announce()
  }
  metadata = cutOver(metadata, Math.floor(now() / 1000) + 1)
  await announce()
}

export interface DashboardStage {
  readonly running: RunningServer
  readonly client: ReleaseServerClient
  readonly publisher: TestPublisher
  readonly first: MadeRelease
  readonly second: MadeRelease
  readonly page: Page
  readonly problems: string[]
  logIn(): Promise<void>
}

/**
 * A server as a team would have it: a release rolled out to a quarter, keys of different ages, telemetry of some days.
 * The clock of the server starts 150 days ago and ends today, which is what the browser has.
 */
export async function stage(
  options: Partial<ReleaseServerOptions> = {},
  browserOptions: BrowserContextOptions = {},
): Promise<DashboardStage> {
  let now = Date.now() - 150 * day
  const running = await startServer({ vault: { passphrase: 'x', scryptLogN: 4 }, clock: () => now, ...options })
  const early = await running.client(['admin'])
  const identity = createTransportIdentity(systemRandom)
  const publisher = await TestPublisher.create({ now, transport: [identity.name] })
  await publisher.introduce(early)
  const first = await publisher.release({ 'a.txt': utf8Encode('a') }, { contentKeys: [contentKey(1, 'active')] })
  await publisher.publish(early, first)
  for (const ago of [3, 2, 1, 0]) {
    now = Date.now() - ago * day
    for (const [version, count] of [
      [first.model.version, 2 + ago],
      ['2026.11.21-2', 6 - ago],
    ] as const) {
      for (let at = 0; at < count; at++) await report(running, version, at === 0 ? 'failed' : 'updated')
    }
    await new Promise((resolve) => setImmediate(resolve))
  }
  const client = await running.client(['admin'])
  await publishTransportKeys(running, client, identity, () => now)
  publisher.now = Math.floor(now / 1000) * 1000
  const second = await publisher.release(
    { 'a.txt': utf8Encode('a'), 'b.txt': utf8Encode('bb'), 'data/world.bin': someBytes(300_000) },
    { contentKeys: [contentKey(2, 'active'), contentKey(1, 'retired')] },
  )
  await publisher.publish(
    client,
    second,
    await publisher.head(second, {
      edit: (head) => ({
        ...head,
        fallback: first.pin,
        rollout: { percent: 25, salt: 'ab'.repeat(16), paused: false },
      }),
    }),
  )
  const { page, problems } = await openPage(browserOptions)
  // The address of the server, as people type it.
  await page.goto(running.url)
  const logIn = async (): Promise<void> => {
    await page.getByLabel('Token', { exact: true }).fill(await running.token(['admin']))
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Channels' }).waitFor()
    await page.getByText(`Release ${second.model.version}`).waitFor()
    await page.getByText('live', { exact: true }).waitFor()
  }
  return { running, client, publisher, first, second, page, problems, logIn }
}

function report(running: RunningServer, version: string, result: string): Promise<Response> {
  return fetch(`${running.url}/v1/reports`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ product: 'metin2', channel: 'stable', version, result, duration_ms: 900 }),
  })
}
