// Makes dist/programs: keyturn and m2pack as few files, which is what users start.
import { fileURLToPath } from 'node:url'
import { bundle, emptyFolder } from '../../../tooling/bundle/bundle.ts'

const own = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')
const output = `${own}/dist/programs`
emptyFolder(output)
await bundle({
  own,
  input: { keyturn: `${own}/dist/main.js`, m2pack: `${own}/dist/m2pack.js` },
  output,
  external: ['@keyturn/release-server', '@modelcontextprotocol/server'],
})
