import * as sea from 'node:sea'
import { chooseBundle } from './loader.ts'

const { root, code, sha256 } = chooseBundle({
  asset: (name) => sea.getAsset(name, 'utf8'),
  execPath: process.execPath,
  env: process.env,
  nodeVersion: process.versions.node,
})

/** Only what is inside Node: a folder `node_modules` beside the executable must not be able to bring code. */
function requireBuiltin(name: string): unknown {
  const found = process.getBuiltinModule(name)
  if (found === undefined) throw new Error(`Cannot load "${name}": the launcher has no modules but Node's own`)
  return found
}

const module = { exports: {} as { startPlayer: (start: object) => void } }
// The text is the bundle inside the executable, or one whose hash a signed release of channel `launcher` named.
new Function('require', 'module', 'exports', code)(requireBuiltin, module, module.exports)
module.exports.startPlayer({ root, runningSha256: sha256, asset: (name: string) => sea.getRawAsset(name) })
