// A page that opens `.m2p` archives. It reads the file and a runtime key in the browser and sends nothing anywhere. It
// decrypts only the file that you choose, and authenticates every byte before it shows it.
import { blobSource, M2pError, openArchive } from '@keyturn/m2pack-format'
import type { Archive, ArchiveEntry } from '@keyturn/m2pack-format'
import { parseRuntimeKeyJson, RuntimeKeyError } from '@keyturn/runtime-key'

/** Of a larger file, only this much is shown; all of it can be saved. */
const PREVIEW_BYTES = 256 * 1024
const HEX_BYTES = 4096
const IMAGES: Readonly<Record<string, string>> = {
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
}

function element<E extends HTMLElement>(id: string, type: new () => E): E {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new TypeError(`The page has no ${id}`)
  return found
}

const page = {
  form: element('open', HTMLFormElement),
  archive: element('archive', HTMLInputElement),
  key: element('key', HTMLInputElement),
  message: element('message', HTMLParagraphElement),
  contents: element('contents', HTMLElement),
  filter: element('filter', HTMLInputElement),
  verify: element('verify', HTMLButtonElement),
  files: element('files', HTMLTableSectionElement),
  summary: element('summary', HTMLParagraphElement),
  name: element('name', HTMLHeadingElement),
  save: element('save', HTMLAnchorElement),
  preview: element('preview', HTMLDivElement),
}

let opened: Archive | undefined
let addresses: string[] = []

function say(text: string, bad = false): void {
  page.message.textContent = text
  page.message.classList.toggle('bad', bad)
}

/** Runs what a click asks for. An error of the packages becomes a message with its code. */
async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof M2pError || error instanceof RuntimeKeyError)) throw error
    say(`${error.message} (${error.code})`, true)
  }
}

function sizeText(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

async function openFiles(archiveFile: File, keyFile: File): Promise<Archive> {
  const key = parseRuntimeKeyJson(new Uint8Array(await keyFile.arrayBuffer()))
  try {
    const { keyId, signPublicKey } = key
    if (signPublicKey === undefined)
      throw new RuntimeKeyError('RK_KEY_INVALID', 'The runtime key does not name the key that signs archives')
    const verifiers = new Map([[keyId, signPublicKey]])
    return await key.withBytes((bytes) =>
      openArchive(blobSource(archiveFile), { verifiers, contentKey: { keyId, key: bytes } }),
    )
  } finally {
    key.dispose()
  }
}

function rowOf(archive: Archive, entry: ArchiveEntry): HTMLTableRowElement {
  const row = document.createElement('tr')
  row.tabIndex = 0
  row.dataset['path'] = entry.path
  for (const [text, type] of [
    [entry.path, ''],
    [sizeText(entry.size), 'number'],
    [sizeText(entry.storedSize), 'number'],
  ] as const) {
    const cell = row.insertCell()
    cell.textContent = text
    cell.className = type
  }
  const choose = (): void => void attempt(() => show(archive, entry, row))
  row.addEventListener('click', choose)
  row.addEventListener('keydown', ({ key }) => {
    if (key === 'Enter') choose()
  })
  return row
}

function list(archive: Archive): void {
  const total = archive.entries.reduce((sum, { size }) => sum + size, 0)
  page.files.replaceChildren(...archive.entries.map((entry) => rowOf(archive, entry)))
  page.summary.textContent = `${archive.entries.length} files, ${sizeText(total)}; key_id ${archive.keyId}, signature valid`
  page.contents.hidden = false
}

function hexLines(bytes: Uint8Array): string {
  const lines = []
  for (let at = 0; at < bytes.length; at += 16) {
    const part = [...bytes.subarray(at, at + 16)]
    const hex = part.map((byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const text = part.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('')
    lines.push(`${at.toString(16).padStart(6, '0')}  ${hex.padEnd(47)}  ${text}`)
  }
  return lines.join('\n')
}

/** Never shows markup: text stays text, pictures are pictures, everything else is bytes. */
function previewOf(path: string, bytes: Uint8Array<ArrayBuffer>, address: string): HTMLElement {
  if (IMAGES[path.split('.').at(-1)?.toLowerCase() ?? ''] !== undefined) {
    const image = document.createElement('img')
    image.alt = path
    image.src = address
    return image
  }
  const shown = document.createElement('pre')
  const part = bytes.subarray(0, PREVIEW_BYTES)
  try {
    const text = new TextDecoder('utf-8', { fatal: bytes.length <= PREVIEW_BYTES }).decode(part)
    if (text.includes('\0')) throw new TypeError('not text')
    shown.textContent = text
  } catch {
    shown.className = 'hex'
    shown.textContent = hexLines(bytes.subarray(0, HEX_BYTES))
  }
  return shown
}

async function show(archive: Archive, { path }: ArchiveEntry, row: HTMLTableRowElement): Promise<void> {
  const bytes = await archive.read(path)
  for (const address of addresses) URL.revokeObjectURL(address)
  const type = IMAGES[path.split('.').at(-1)?.toLowerCase() ?? ''] ?? 'application/octet-stream'
  const address = URL.createObjectURL(new Blob([bytes], { type }))
  addresses = [address]
  for (const other of page.files.rows) other.ariaSelected = String(other === row)
  page.name.textContent = path
  page.save.href = address
  page.save.download = path.split('/').at(-1) ?? path
  page.save.hidden = false
  page.preview.replaceChildren(previewOf(path, bytes, address))
  say('')
}

async function verify(archive: Archive): Promise<void> {
  page.verify.disabled = true
  try {
    const { ok, failures, filesChecked, bytesChecked } = await archive.verify({
      onProgress: ({ files, totalFiles }) => say(`Verified ${files} of ${totalFiles} files`),
    })
    const bad = new Set(failures.map(({ path }) => path))
    for (const row of page.files.rows) row.classList.toggle('failed', bad.has(row.dataset['path'] ?? ''))
    say(
      ok
        ? `All ${filesChecked} files are what the publisher packed: ${sizeText(bytesChecked)}`
        : `${bad.size === 1 ? '1 file is' : `${bad.size} files are`} damaged: ${[...bad].join(', ')}`,
      !ok,
    )
  } finally {
    page.verify.disabled = false
  }
}

page.form.addEventListener('submit', (event) => {
  event.preventDefault()
  const [archiveFile, keyFile] = [page.archive.files?.[0], page.key.files?.[0]]
  if (archiveFile === undefined || keyFile === undefined) return
  void attempt(async () => {
    opened?.dispose()
    opened = undefined
    page.contents.hidden = true
    opened = await openFiles(archiveFile, keyFile)
    list(opened)
    say('')
  })
})
page.filter.addEventListener('input', () => {
  const wanted = page.filter.value.toLowerCase()
  for (const row of page.files.rows) row.hidden = !(row.dataset['path'] ?? '').toLowerCase().includes(wanted)
})
page.verify.addEventListener('click', () => {
  const archive = opened
  if (archive !== undefined) void attempt(() => verify(archive))
})
