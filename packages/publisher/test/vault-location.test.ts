import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { VaultError } from '@keyturn/vault-kdf'
import type { Keychain } from '@keyturn/vault-kdf/node'
import type { PublisherHost } from '../src/session.ts'
import { createVault, openVault } from '../src/vault-location.ts'
import type { VaultFlags, VaultParts } from '../src/vault-location.ts'

let folder = ''
let deferred: (() => void | Promise<void>)[] = []
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-vault-location-'))
  deferred = []
})
afterEach(async () => {
  await over()
  await rm(folder, { recursive: true, force: true })
})

/** The command is over: what it deferred runs, last registered first. */
async function over(): Promise<void> {
  for (const cleanUp of deferred.splice(0).toReversed()) await cleanUp()
}

function host(passphrase: () => Promise<Uint8Array> = async () => new TextEncoder().encode('p')): PublisherHost {
  return {
    homeFolder: join(folder, 'home'),
    signal: new AbortController().signal,
    clock: Date.now,
    dryRun: false,
    passphrase,
    onStep: () => undefined,
    warn: () => undefined,
    defer: (cleanUp) => void deferred.push(cleanUp),
  }
}

const noKeychain: Keychain = {
  get: () => Promise.reject(new VaultError('VK_PROVIDER', 'The keychain of this machine cannot be used')),
  set: () => Promise.reject(new VaultError('VK_PROVIDER', 'The keychain of this machine cannot be used')),
}

async function code(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'no error',
    (error: unknown) => (error as { code?: string }).code,
  )
}

async function everything(): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).toSorted()
}

describe.each(['v', 'deep/er/v', 'v.sqlite', 'deep/er/v.sqlite'])('createVault() in %s that fails', (name) => {
  const flags = (more: Partial<VaultFlags> = {}): VaultFlags => ({ vault: join(folder, name), ...more })

  it('leaves nothing where the keychain is absent, and the next attempt succeeds', async () => {
    expect(await code(createVault(host(), flags({ keychain: true }), { keychain: noKeychain }))).toBe('VK_PROVIDER')
    await over()
    expect(await everything()).toEqual([])
    const made = await createVault(host(), flags())
    expect(made.keys.active).toBe(1)
    await over()
    expect((await openVault(host(), flags())).id).toBe(made.id)
    expect(await code(createVault(host(), flags()))).toBe('CLI_EXISTS')
  })

  it('leaves nothing where the question for the passphrase is not answered', async () => {
    await expect(
      createVault(
        host(() => Promise.reject(new Error('interrupted'))),
        flags(),
      ),
    ).rejects.toThrow('interrupted')
    expect(await everything()).toEqual([])
  })

  it('leaves what was there before, and takes back what it made, whatever fails last', async () => {
    const inFolder = name.endsWith('.sqlite') ? join(folder, name, '..') : join(folder, name)
    await mkdir(inFolder, { recursive: true })
    await writeFile(join(inFolder, 'notes.txt'), 'mine')
    // The chain cannot be written: its name is taken by a folder, or, for a database, the clock fails after all was
    // made.
    const parts: VaultParts = {}
    if (!name.endsWith('.sqlite')) await mkdir(join(inFolder, 'audit.jsonl'))
    const before = await everything()
    const broken = {
      ...host(),
      clock: () => {
        throw new Error('no clock')
      },
    }
    await expect(createVault(name.endsWith('.sqlite') ? broken : host(), flags(), parts)).rejects.toThrow()
    await over()
    expect(await everything()).toEqual(before)
  })
})

describe('openVault()', () => {
  it('says when the keychain has forgotten the key of a vault, and makes no other (P2)', async () => {
    const values = new Map<string, string>()
    const keychain: Keychain = {
      get: async (_service, account) => values.get(account),
      set: async (_service, account, value) => void values.set(account, value),
    }
    const flags = { vault: join(folder, 'v'), keychain: true }
    await createVault(host(), flags, { keychain })
    await over()
    await openVault(host(), flags, { keychain })
    await over()
    values.clear()
    expect(await code(openVault(host(), flags, { keychain }))).toBe('VK_KEYCHAIN_FORGOT')
    expect(values.size).toBe(0)
  })
})
