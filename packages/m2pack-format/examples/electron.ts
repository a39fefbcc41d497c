// An Electron app whose pages and assets are in one encrypted archive, with a protocol of its own: `app://game/…`. Here
// Node plays Electron; in an app the lines marked so are the real ones. Run: node examples/electron.ts
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ed25519PublicKey, systemRandom } from '@keyturn/primitives'
import { buildFolder, openArchiveFile } from '@keyturn/m2pack-format/node'
import { archiveResponse } from '@keyturn/m2pack-format/web'
import type { Archive } from '@keyturn/m2pack-format'

const HOST = 'game'
const CSP = "default-src 'self'; script-src 'self'; object-src 'none'; base-uri 'none'"

/**
 * What `protocol.handle('app', …)` is given. Electron: before the app is ready,
 * `protocol.registerSchemesAsPrivileged([{ scheme: 'app', privileges: { standard: true, secure: true, stream: true }
 * }])`.
 */
export function handler(archive: Archive): (request: Request) => Response {
  return (request) => {
    const { host, pathname } = new URL(request.url)
    if (host !== HOST) return new Response(null, { status: 404 })
    const path = pathname === '/' ? { path: 'index.html' } : {}
    return archiveResponse(archive, request, { ...path, headers: { 'content-security-policy': CSP } })
  }
}

// The build, on the machine of the publisher.
const folder = await mkdtemp(join(tmpdir(), 'electron-example-'))
const files = {
  'index.html': '<!doctype html><script type="module" src="main.js"></script>',
  'main.js': 'document.title = "hello"',
  'intro.ogg': 'not really music',
}
await mkdir(join(folder, 'dist'))
for (const [name, text] of Object.entries(files)) await writeFile(join(folder, 'dist', name), text)
const signingSeed = systemRandom(32)
const contentKey = { keyId: 1, key: systemRandom(32) }
await buildFolder(join(folder, 'dist'), join(folder, 'app.m2p'), { contentKey, signingSeed })

// The app; in Electron the archive is below `process.resourcesPath`. The public key is part of the program; the content
// key comes from a server after a login, or from `safeStorage`. Anyone who runs the app can read its memory.
const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
const { archive, close } = await openArchiveFile(join(folder, 'app.m2p'), { verifiers, contentKey })
const handle = handler(archive) // Electron: protocol.handle('app', handler(archive))

// What the window asks for after `window.loadURL('app://game/')`.
const asked = [
  { address: 'app://game/' },
  { address: 'app://game/main.js' },
  { address: 'app://game/intro.ogg', range: 'bytes=4-9' },
  { address: 'app://game/missing' },
]
for (const { address, range } of asked) {
  const response = handle(new Request(address, range === undefined ? {} : { headers: { range } }))
  console.log(response.status, response.headers.get('content-type'), JSON.stringify(await response.text()))
}
await close()
await rm(folder, { recursive: true })
