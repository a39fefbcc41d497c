// Runs before the launcher's own code, in its process, and kills it (SIGKILL) before its n-th step on the files that say
// which bundle starts next: `KEYTURN_STEP`. A write ends after half of its bytes. Steps that only read do not count.
'use strict'
const at = Number(process.env.KEYTURN_STEP ?? 'NaN')
const { basename, dirname } = process.getBuiltinModule('node:path')
let step = 0

/** `current.json`, bundles, what is written before it takes their name, and their folder. */
const isOurs = (path) =>
  basename(dirname(String(path))) === '.launcher'
    ? /^\.?([0-9a-f]{64}\.cjs|current\.json)/.test(basename(String(path)))
    : basename(String(path)) === '.launcher'

function atStep(half) {
  if (step++ !== at) return
  half?.()
  process.kill(process.pid, 'SIGKILL')
}

function before(target, name, half) {
  const real = target[name]
  target[name] = function (...args) {
    if (isOurs(args[0])) atStep(half === undefined ? undefined : () => half(...args))
    return real.apply(this, args)
  }
}

const fs = process.getBuiltinModule('node:fs')
const writeHalf = fs.writeFileSync
for (const name of ['renameSync', 'rmSync', 'mkdirSync']) before(fs, name)
before(fs, 'writeFileSync', (path, text, options) => writeHalf(path, text.slice(0, text.length / 2), options))

const promises = process.getBuiltinModule('node:fs/promises')
for (const name of ['rename', 'rm', 'unlink', 'mkdir', 'link']) before(promises, name)
const open = promises.open
promises.open = async (path, flags, mode) => {
  if (!isOurs(path)) return await open(path, flags, mode)
  if (flags !== 'r') atStep()
  const handle = await open(path, flags, mode)
  const { write, sync } = handle
  handle.write = async (bytes, offset, length, position) => {
    atStep(() => fs.writeSync(handle.fd, bytes, offset, Math.floor(length / 2), position))
    return await write.call(handle, bytes, offset, length, position)
  }
  handle.sync = async () => {
    atStep()
    return await sync.call(handle)
  }
  return handle
}
