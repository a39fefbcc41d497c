/** What an import costs: processor time at the start, and bytes in a page. */
import { writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { asBytes, asMs, inTurns, peer, program, row } from './measure.mjs'

const imports = JSON.parse(process.argv[2])
const esbuild = await peer('esbuild')

const start = (code) => () => program([process.execPath, '--input-type=module', '--eval', code])
const tasks = { empty: start('0'), ...Object.fromEntries(imports.map(([name, { code }]) => [name, start(code)])) }
const costs = await inTurns(tasks, { rounds: 7 }).catch((error) => (console.error(error.message), undefined))
if (costs !== undefined)
  row(
    'import in Node: processor time over an empty program',
    Object.fromEntries(imports.map(([name]) => [name, asMs(Math.max(0, costs[name].cpuMs - costs.empty.cpuMs))])),
  )

const figures = {}
for (const [name, { code, browser }] of imports) {
  if (browser !== true || esbuild === undefined) continue
  // What is imported has to be used, or nothing of it would be left.
  const names = /import (.*) from/.exec(code)[1].replaceAll(/[{}]/g, '')
  writeFileSync('weight-entry.mjs', `${code}\nglobalThis.kept = [${names}]\n`)
  try {
    const { outputFiles } = await esbuild.build({
      entryPoints: ['weight-entry.mjs'],
      bundle: true,
      minify: true,
      write: false,
      outdir: 'weight',
      format: 'esm',
      platform: 'browser',
      external: ['*.wasm', 'node:*'],
      loader: { '.wasm': 'file' },
      logLevel: 'silent',
    })
    const bytes = outputFiles
      .filter(({ path }) => path.endsWith('.js'))
      .map(({ contents }) => gzipSync(contents).length)
    figures[name] = asBytes(bytes.reduce((sum, size) => sum + size, 0))
  } catch (error) {
    console.error(`${name}: ${error.message.split('\n', 2).join(' ')}`)
  }
}
if (Object.keys(figures).length > 0) row('in a page: minified, gzip, without WebAssembly', figures)
