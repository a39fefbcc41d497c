// Preloaded into the real program by tests: takes all memory there is at the n-th file that is put in place.
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

const { rename } = fs
let left = Number(process.env['KEYTURN_TEST_DIES_AT'] ?? '3')
fs.rename = async (from, to) => {
  if (String(from).includes('/staging/') && !String(to).includes('/.updates/') && left-- === 0) {
    const taken: object[] = []
    for (;;) taken.push(Array.from({ length: 10_000 }, (_, index) => ({ index })))
  }
  await rename(from, to)
}
syncBuiltinESMExports()
