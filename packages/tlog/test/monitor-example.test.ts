import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it, vi } from 'vitest'
import { formatVerifierKey } from '../src/index.ts'
import { entry, MemoryLog } from './support/memory-log.ts'

const folder = mkdtempSync(join(tmpdir(), 'keyturn-monitor-'))
const argv = process.argv

afterEach(() => {
  process.argv = argv
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true, force: true })
})

it('the monitor of the README prints what is new, and ends with an error when the log was rewritten', async () => {
  let log = new MemoryLog()
  vi.stubGlobal('fetch', (url: string) =>
    Promise.resolve(new Response(new Uint8Array(log.files.get(url.replace('https://log.example/one/', '')) ?? []))),
  )
  const print = vi.spyOn(console, 'log').mockReturnValue()
  const run = async (): Promise<string[]> => {
    print.mockClear()
    vi.resetModules()
    process.argv = [
      'node',
      'monitor.ts',
      'https://log.example/one',
      formatVerifierKey(log.signer.key),
      join(folder, 'state'),
    ]
    await import('../examples/monitor.ts')
    return print.mock.calls.map(([text]) => String(text))
  }
  log.files.set('checkpoint', await log.append([entry(0), entry(1)]))
  expect(await run()).toEqual(['entry 0\n', 'entry 1\n'])
  log.files.set('checkpoint', await log.append([entry(2)]))
  expect(await run()).toEqual(['entry 2\n'])
  expect(await run()).toEqual([])
  log = new MemoryLog()
  log.files.set('checkpoint', await log.append([entry(0), entry(9), entry(2), entry(3)]))
  await expect(run()).rejects.toMatchObject({ code: 'TLOG_CONSISTENCY' })
})
