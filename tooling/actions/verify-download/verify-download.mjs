// Fetches a release document and files of the release, and keeps only what its publisher signed: all files that were asked
// for, or none. What was seen is stored before the files are there, so that no later run accepts an older release.
//
//   MANIFEST_FOLDER=… RELEASE=https://… PIN=did:keri:… OUTPUT=folder STATE=file node verify-download.mjs
//
// Plain JavaScript; its one dependency is the @keyturn/manifest that is installed in MANIFEST_FOLDER.
import { randomUUID } from 'node:crypto'
import { existsSync, realpathSync } from 'node:fs'
import { appendFile, chmod, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { argv, env, exit } from 'node:process'
import { pathToFileURL } from 'node:url'

/** A release document names every file, so it has room for many. */
const MAX_RELEASE_BYTES = 128 * 1024 * 1024
const TIMEOUT_MS = 10 * 60_000
const PROGRAM_MODE = 0o755

/** Reads an answer, and stops when it is longer than it may be. */
async function fetchBytes(url, maxBytes) {
  const response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })
  if (!response.ok || response.body === null) throw new Error(`Cannot fetch ${url}: status ${response.status}`)
  const parts = []
  let length = 0
  for await (const part of response.body) {
    length += part.length
    if (length > maxBytes) throw new Error(`Cannot fetch ${url}: it has more than ${maxBytes} bytes`)
    parts.push(part)
  }
  return new Uint8Array(Buffer.concat(parts))
}

async function replaceFile(path, bytes) {
  const target = resolve(path)
  await mkdir(dirname(target), { recursive: true })
  const fresh = `${target}.${randomUUID()}`
  await writeFile(fresh, bytes, { flush: true })
  await rename(fresh, target)
}

/** The files that were asked for, as the release describes them. */
function chosenFrom(download, files) {
  const wanted = files.split('\n').map((path) => path.trim())
  const paths = wanted.filter((path) => path !== '')
  if (paths.length === 0) return download.files
  return paths.map((path) => {
    const file = download.files.find((entry) => entry.path === path)
    if (file === undefined) throw new Error(`Release ${download.version} has no file "${path}"`)
    return file
  })
}

/**
 * @param {object} options - What the action's inputs say; empty text is the default.
 * @param {(release: Uint8Array, pin: string, state: Uint8Array | undefined, options: object) => any} options.verifyDownload
 * @returns {Promise<{ version: string, files: number }>}
 */
export async function download({
  verifyDownload,
  release,
  pin,
  output,
  files = '',
  base = '',
  state,
  product,
  channel,
}) {
  if (existsSync(output)) throw new Error(`Cannot write to ${output}: it is there already`)
  const before = existsSync(state) ? new Uint8Array(await readFile(state)) : undefined
  const document = await fetchBytes(release, MAX_RELEASE_BYTES)
  let refused
  let verified
  try {
    verified = verifyDownload(document, pin, before, {
      ...(channel && { channel }),
      ...(product && { product }),
      onRefused: (bytes) => (refused = bytes),
    })
  } finally {
    // What a refused release proves about its publisher is remembered, too.
    if (refused !== undefined) await replaceFile(state, refused)
  }
  await replaceFile(state, verified.state)
  const chosen = chosenFrom(verified, files)
  const from = base === '' ? new URL('.', release) : new URL(base.endsWith('/') ? base : `${base}/`)
  const fresh = `${resolve(output)}.${randomUUID()}`
  try {
    await mkdir(fresh, { recursive: true })
    for (const { path, size, executable } of chosen) {
      const url = new URL(path.split('/').map(encodeURIComponent).join('/'), from)
      const bytes = await fetchBytes(url, size)
      verified.requireFile(path, bytes)
      await mkdir(dirname(join(fresh, path)), { recursive: true })
      await writeFile(join(fresh, path), bytes, { flag: 'wx' })
      if (executable) await chmod(join(fresh, path), PROGRAM_MODE)
    }
    await rename(fresh, output)
  } finally {
    await rm(fresh, { recursive: true, force: true })
  }
  return { version: verified.version, files: chosen.length }
}

async function main() {
  const { MANIFEST_FOLDER = '.', RELEASE, PIN, OUTPUT, FILES, BASE, STATE, PRODUCT, CHANNEL, GITHUB_OUTPUT } = env
  for (const [name, value] of Object.entries({ RELEASE, PIN, OUTPUT, STATE }))
    if (!value) throw new Error(`${name.toLowerCase()} must not be empty`)
  const found = createRequire(join(resolve(MANIFEST_FOLDER), 'package.json')).resolve('@keyturn/manifest')
  const { verifyDownload } = await import(pathToFileURL(found).href)
  const { version, files } = await download({
    verifyDownload,
    release: RELEASE,
    pin: PIN,
    output: OUTPUT,
    files: FILES,
    base: BASE,
    state: STATE,
    product: PRODUCT,
    channel: CHANNEL,
  })
  console.log(`Release ${version}: ${files} files verified in ${OUTPUT}`)
  // A version is free text of one line: `checkVersionName` of @keyturn/manifest.
  if (GITHUB_OUTPUT) await appendFile(GITHUB_OUTPUT, `release=${version}\n`)
}

if (argv[1] !== undefined && import.meta.url === pathToFileURL(realpathSync(argv[1])).href) {
  await main().catch((error) => {
    const message = error instanceof Error ? error.message : String(error)
    console.error(
      `::error::${error?.code === undefined ? '' : `${error.code}: `}${message.replaceAll(/[\r\n]+/g, ' ')}`,
    )
    exit(1)
  })
}
