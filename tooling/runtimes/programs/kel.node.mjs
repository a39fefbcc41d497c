import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileStore } from '@keyturn/kel/node'
import { expect } from './require.mjs'

export const features = {
  async 'logs in a folder'() {
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-run-'))
    expect('an empty store', (await fileStore(folder).list()).length === 0)
    rmSync(folder, { recursive: true })
  },
}
