import { describe, expect, it } from 'vitest'
import { engineFor, expectedText, treeText } from './support/install.ts'
import { noise, Publisher, sha256Hex } from './support/publisher.ts'

const quiet = { stdio: ['ignore', 'ignore', 'ignore'] as const }

/** Two releases, the second installed and the first kept. */
async function updated() {
  const publisher = await Publisher.create()
  const files = { 'client.mjs': 'process.exit(0)', 'pack/a.bin': noise(300_000, 1), 'edition.txt': 'one' }
  const first = await publisher.release(files)
  const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'] })
  await engine.update()
  const second = await publisher.release({ ...files, 'pack/a.bin': noise(300_000, 2), 'edition.txt': 'two' })
  await engine.update()
  const sides = {
    [first.model.version]: expectedText(first.files, sha256Hex),
    [second.model.version]: expectedText(second.files, sha256Hex),
  }
  return { publisher, engine, folder, first, second, sides }
}

describe('a start that is confirmed while something else begins', () => {
  it('takes no file from a rollback: the release is wholly one of the two, as the status says', async () => {
    for (let round = 0; round < 4; round++) {
      const { engine, folder, sides } = await updated()
      const { exited, confirmed } = await engine.launch({ update: false, ...quiet })
      await exited
      const code = await engine.rollback().then(
        () => 'rolled back',
        (error: unknown) => (error as { code: string }).code,
      )
      await confirmed
      expect(['rolled back', 'LA_NO_ROLLBACK']).toContain(code)
      const { version = '', canRollBack } = await engine.status()
      expect(await treeText(folder)).toBe(sides[version])
      expect(canRollBack).toBe(false)
    }
  })

  it('does not write an older state over an update', async () => {
    for (let round = 0; round < 4; round++) {
      const { publisher, engine, folder } = await updated()
      const { exited, confirmed } = await engine.launch({ update: false, ...quiet })
      const third = await publisher.release({ 'client.mjs': 'process.exit(0)', 'edition.txt': 'three' })
      await exited
      expect(await engine.update()).toMatchObject({ outcome: 'updated', version: third.model.version })
      await confirmed
      expect(await engine.status()).toMatchObject({ version: third.model.version, confirmed: false })
      expect(await treeText(folder)).toBe(expectedText(third.files, sha256Hex))
    }
  })
})

describe('a launcher that ends while the client runs', () => {
  it('leaves a start uncounted that nobody saw fail, so that no good release is taken back for it', async () => {
    const publisher = await Publisher.create()
    await publisher.release({ 'client.mjs': 'setTimeout(() => process.exit(1), 60_000)' })
    const { engine, folder } = await engineFor(publisher, { program: ['client.mjs'] })
    const { child, exited, leave } = await engine.launch(quiet)
    expect(await engine.status()).toMatchObject({ failedStarts: 1, confirmed: false, clientPid: child.pid })
    await leave()
    const next = await engineFor(publisher, { folder, program: ['client.mjs'] }) // the next launcher
    expect(await next.engine.status()).toMatchObject({ failedStarts: 0, confirmed: false, clientPid: child.pid })
    await leave()
    expect(await next.engine.status()).toMatchObject({ failedStarts: 0 })
    child.kill()
    await exited
    expect(await next.engine.status()).toMatchObject({ clientPid: undefined })
  })
})
