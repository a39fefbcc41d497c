// Bundles the viewer and serves it on this machine: `node examples/archive-viewer/serve.ts [port]`. Any static server
// can serve the four files.
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { rolldown } from 'rolldown'

interface Served {
  readonly type: string
  readonly body: string | Uint8Array
}

/** The script for browsers, with every package that it needs. */
async function bundle(): Promise<string> {
  const build = await rolldown({
    input: join(import.meta.dirname, 'viewer.ts'),
    platform: 'browser',
    logLevel: 'silent',
    resolve: { conditionNames: ['import', 'browser', 'default'] },
  })
  try {
    const { output } = await build.generate({ format: 'esm', codeSplitting: false, minify: true })
    return output[0].code
  } finally {
    await build.close()
  }
}

/** zstd as WebAssembly. The bundle expects it in its own folder. */
async function decoder(): Promise<Uint8Array> {
  const fromFormat = createRequire(import.meta.resolve('@keyturn/m2pack-format'))
  return await readFile(join(fromFormat.resolve('@bokuweb/zstd-wasm'), '../../web/zstd.wasm'))
}

/** The files of the viewer, by path. */
async function viewerFiles(): Promise<ReadonlyMap<string, Served>> {
  const text = (name: string): Promise<string> => readFile(join(import.meta.dirname, name), 'utf8')
  return new Map<string, Served>([
    ['/', { type: 'text/html; charset=utf-8', body: await text('index.html') }],
    ['/style.css', { type: 'text/css', body: await text('style.css') }],
    ['/viewer.js', { type: 'text/javascript', body: await bundle() }],
    ['/zstd.wasm', { type: 'application/wasm', body: await decoder() }],
  ])
}

/** Serves the viewer on the loopback interface. Port 0 means any free port. */
export async function serveViewer(port: number): Promise<{ server: Server; url: string }> {
  const files = await viewerFiles()
  const server = createServer((request, response) => {
    const file = files.get(request.url ?? '/')
    if (file === undefined) return void response.writeHead(404).end()
    response.writeHead(200, { 'content-type': file.type, 'x-content-type-options': 'nosniff' }).end(file.body)
  })
  await new Promise<void>((resolve) => void server.listen(port, '127.0.0.1', resolve))
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
}

if (import.meta.main) console.log(`Open ${(await serveViewer(Number(process.argv[2] ?? 8480))).url}`)
