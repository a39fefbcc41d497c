// One operation in a process of its own, as the benchmark times it: `node bench/driver.mjs verify ARCHIVE - JOBS`. Plain JavaScript, as what
// is shipped: stripping types would add 80 ms to every run.
import { readFileSync } from 'node:fs'
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'

// In the checkout: the default is a foreseeable name in a folder that other users can write to.
enableCompileCache(fileURLToPath(new URL('../../../node_modules/.cache/keyturn-bench', import.meta.url)))
const { buildFolder, extractArchive, openArchiveFile, verifyArchiveFile } = await import('@keyturn/m2pack-format/node')
const { ed25519PublicKey } = await import('@keyturn/primitives')

const [operation = '', from = '', to = '', jobs = '2', level = '3', version = '1'] = process.argv.slice(2)
const signingSeed = new Uint8Array(32).fill(7)
const contentKey = { keyId: 1, key: new Uint8Array(32).fill(5) }
const verifiers = new Map([[1, ed25519PublicKey(signingSeed)]])
const options = { verifiers, contentKey, jobs: Number(jobs) }

if (operation === 'build')
  await buildFolder(from, to, {
    version: Number(version),
    contentKey,
    signingSeed,
    jobs: Number(jobs),
    level: Number(level),
    overwrite: true,
  })
else if (operation === 'repack') {
  const [previous = '', next = ''] = to.split(',')
  const { archive, close } = await openArchiveFile(previous, options)
  const { carriedFiles, files } = await buildFolder(from, next, {
    version: Number(version),
    contentKey,
    signingSeed,
    jobs: Number(jobs),
    level: Number(level),
    overwrite: true,
    previous: archive,
  })
  await close()
  if (carriedFiles !== files) throw new Error('Something was packed again')
} else if (operation === 'verify') {
  const { ok } = await verifyArchiveFile(from, options)
  if (!ok) throw new Error('The archive does not verify')
} else await extractArchive(from, to, options)
// What the whole process took: wall time is the benchmark's to measure, the rest only the process itself knows.
const { user, system } = process.cpuUsage()
console.log(JSON.stringify({ cpu: (user + system) / 1e6, rssKib: peakKib() }))

/** What the system counts as the peak of a process is never less than the memory of the one that started it. */
function peakKib() {
  if (process.platform !== 'linux') return process.resourceUsage().maxRSS
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1])
}
