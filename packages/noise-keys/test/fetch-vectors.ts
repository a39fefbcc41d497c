/**
 * Fetches the published Noise vectors of cacophony and snow, so that `test/noise-vectors.test.ts` runs them:
 *
 *     node test/fetch-vectors.ts && vitest run test/noise-vectors.test.ts
 *
 * They are 2.6 MB, come from the repository of snow (MIT or Apache-2.0), and are compared with the digests below.
 */
import { createHash } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const SOURCE = 'https://raw.githubusercontent.com/mcginty/snow/8ac60f51cfe3e010c84f0a454cc575ad9204fa12/tests/vectors'
const DIGESTS: Readonly<Record<string, string>> = {
  'cacophony.txt': '3bde7c09a6f349ee11c825c50fcc02649f8f02a47c857a459206b357f9386cae',
  'snow.txt': '69da433305fd045f6c9f01b656662a389d022688986fd39fbe7af009cd402fd3',
  'snow-extended.txt': 'c14e284c79c07023e6ddb79c2cf4f73598278de982c0e97689dc2bd86abe4334',
}

/**
 * Writes the vectors into a folder.
 *
 * @throws Error for a file that cannot be fetched or has another digest; it is not written.
 */
export async function fetchVectors(folder: string, get: typeof fetch = fetch): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [name, expected] of Object.entries(DIGESTS)) {
    const answer = await get(`${SOURCE}/${name}`)
    if (!answer.ok) throw new Error(`Cannot fetch ${name}: ${SOURCE} answered ${answer.status}`)
    const bytes = new Uint8Array(await answer.arrayBuffer())
    const digest = createHash('sha256').update(bytes).digest('hex')
    if (digest !== expected) throw new Error(`${name} has the SHA-256 ${digest}, expected ${expected}`)
    await writeFile(`${folder}/${name}`, bytes)
    console.log(`${name}: ${bytes.length} bytes`)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await fetchVectors(fileURLToPath(new URL('vectors/fetched', import.meta.url)))
