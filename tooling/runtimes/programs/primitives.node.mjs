import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lockFile, writeFileAtomic } from '@keyturn/primitives/node'
import { bytes, expect } from './require.mjs'

export const features = {
  async 'atomic files and locks'() {
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-run-'))
    const path = join(folder, 'file')
    await writeFileAtomic(path, bytes('whole'))
    expect('the file', readFileSync(path, 'utf8') === 'whole')
    const lock = await lockFile(`${path}.lock`)
    await lock.release()
    rmSync(folder, { recursive: true })
  },
}
