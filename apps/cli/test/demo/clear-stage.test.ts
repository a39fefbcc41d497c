import { mkdtemp, readdir, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { clearStage } from '../../src/demo/stage.ts'

it('removes the folder of a demonstration while something still writes to it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-clear-'))
  for (let n = 0; n < 300; n++) await writeFile(join(folder, `there-${n}`), '')
  let isGone = false
  const writing = (async () => {
    for (let n = 0; n < 60 && !isGone; n++) {
      await writeFile(join(folder, `late-${n}`), '').catch(() => (isGone = true))
      await pause(1)
    }
  })()
  await clearStage(folder)
  await writing
  await expect(readdir(folder)).rejects.toThrow(/ENOENT/)
})
