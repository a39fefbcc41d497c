// A machine without a screen: the browser starts and ends at once, and the player learns what to open elsewhere.
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { openWindow } from '../src/daemon/window.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-window-'))
})
afterEach(async () => {
  vi.restoreAllMocks()
  await rm(folder, { recursive: true, force: true })
})

it.skipIf(process.platform === 'win32').each([
  [1, true],
  [0, false],
])('a browser that ends at once with %i: the address is printed: %s', async (code, isPrinted) => {
  const browser = join(folder, 'chromium')
  await writeFile(browser, `#!/bin/sh\nexit ${code}\n`)
  await chmod(browser, 0o755)
  const written: string[] = []
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0)
  await openWindow('http://127.0.0.1:1/?code=secret', { folder, platform: 'linux', env: { PATH: folder } })
  if (isPrinted) await vi.waitFor(() => expect(written.join('')).toContain('Open this address in one: file://'), 9000)
  else await new Promise((resolve) => void setTimeout(resolve, 300))
  expect(written.join('')).not.toContain('secret')
  expect(written.length).toBe(isPrinted ? 1 : 0)
})
