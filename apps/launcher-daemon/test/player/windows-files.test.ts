import { spawnSync } from 'node:child_process'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { NtExecutable, NtExecutableResource, Resource } from 'resedit'
import { afterEach, describe, expect, it } from 'vitest'
import { readPlayerBundle } from '../../src/build/player-bundle.ts'
import { FUSE } from '../../src/build/sea-blob.ts'
import { signFile } from '../../src/build/sign-file.ts'
import { makeWindowsExecutable } from '../../src/build/windows-executable.ts'
import { makeWindowsSetup } from '../../src/build/windows-setup.ts'
import type { PlayerConfig } from '../../src/player-config.ts'
import { temporaryFolder } from '../../../../packages/install-engine/test/support/install.ts'
import { icon } from '../support/studio.ts'

const config: PlayerConfig = {
  schema: 1,
  id: 'my-game',
  name: 'My "Game" $5',
  publisher: 'My Studio',
  version: '1.4.0',
  server: 'https://updates.example.org',
  trust: 'key:00',
  channel: 'stable',
  languages: [],
  telemetry: false,
  target: 'windows',
  nodeMajor: 24,
}

/** A Windows program with version information and the fuse, as Node's has them. */
function windowsNode(fuses = 1): Uint8Array {
  const program = NtExecutable.createEmpty(false, false)
  const resources = NtExecutableResource.from(program)
  const version = Resource.VersionInfo.createEmpty()
  version.lang = 1033
  version.setStringValues({ lang: 1033, codepage: 1200 }, { ProductName: 'Node.js' })
  version.outputToResourceEntries(resources.entries)
  for (let index = 0; index < fuses; index += 1) {
    const bin = new Uint8Array(Buffer.from(`${FUSE}:0`)).buffer
    resources.entries.push({ type: 10, id: `FUSE${index}`, lang: 0, codepage: 0, bin })
  }
  resources.outputResource(program)
  return new Uint8Array(program.generate())
}

const identity = { name: 'My Game', publisher: 'My Studio', version: '1.4.0', fileName: 'My Game.exe' }
const blob = new Uint8Array([1, 2, 3, 4])

describe('makeWindowsExecutable()', () => {
  it('puts blob, icon and version information in, flips the fuse, and marks a program with a window', async () => {
    const made = await makeWindowsExecutable(windowsNode(), blob, icon, identity)
    const program = NtExecutable.from(made)
    const { entries } = NtExecutableResource.from(program)
    expect(program.newHeader.optionalHeader.subsystem).toBe(2)
    const found = entries.find(({ id }) => id === 'NODE_SEA_BLOB')
    expect(new Uint8Array(found?.bin ?? new ArrayBuffer(0))).toEqual(blob)
    expect(Resource.IconGroupEntry.fromEntries(entries)).toHaveLength(1)
    const strings = Resource.VersionInfo.fromEntries(entries)[0]?.getStringValues({ lang: 1033, codepage: 1200 })
    expect(strings).toMatchObject({ ProductName: 'My Game', CompanyName: 'My Studio', ProductVersion: '1.4.0' })
    expect(Buffer.from(made).includes(`${FUSE}:1`)).toBe(true)
  })

  it('is the same for the same input', async () => {
    const [one, two] = [
      await makeWindowsExecutable(windowsNode(), blob, icon, identity),
      await makeWindowsExecutable(windowsNode(), blob, icon, identity),
    ]
    expect(Buffer.compare(one, two)).toBe(0)
  })

  it('refuses an executable without a fuse, with two, or without version information', async () => {
    for (const program of [windowsNode(0), windowsNode(2), new Uint8Array(NtExecutable.createEmpty().generate())])
      await expect(makeWindowsExecutable(program, blob, icon, identity)).rejects.toMatchObject({ code: 'LB_RUNTIME' })
  })
})

const path = process.env['PATH'] ?? ''
afterEach(() => {
  process.env['PATH'] = path
})

/** A `makensis` that does what a test wants. */
async function fakeNsis(script: string): Promise<void> {
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'makensis'), `#!/bin/sh\n${script}\n`)
  await chmod(join(folder, 'makensis'), 0o755)
  process.env['PATH'] = `${folder}${delimiter}${path}`
}

describe('makeWindowsSetup()', () => {
  const parts = { config, executable: windowsNode(), fileName: 'My Game.exe', icon }

  it('says how to get NSIS where it is missing (LB_NO_NSIS)', async () => {
    process.env['PATH'] = '/nonexistent'
    await expect(makeWindowsSetup(parts)).rejects.toMatchObject({ code: 'LB_NO_NSIS', hint: expect.any(String) })
  })

  it('tells what NSIS printed when it failed (LB_INSTALLER)', async () => {
    await fakeNsis('echo "no such plugin"; exit 1')
    await expect(makeWindowsSetup(parts)).rejects.toMatchObject({
      code: 'LB_INSTALLER',
      message: expect.stringContaining('no such plugin'),
    })
  })

  it.skipIf(spawnSync('makensis', ['-VERSION']).status !== 0)(
    'makes a setup in every language, whatever the name holds, the same for the same input',
    async () => {
      const [one, two] = [await makeWindowsSetup(parts), await makeWindowsSetup(parts)]
      expect(Buffer.from(one.subarray(0, 2)).toString('latin1')).toBe('MZ')
      expect(Buffer.compare(one, two)).toBe(0)
    },
    60_000,
  )
})

describe('signFile()', () => {
  it('returns what the command wrote, and refuses one that fails or writes nothing (LB_SIGN)', async () => {
    const folder = await temporaryFolder()
    const tool = join(folder, 'sign it')
    await writeFile(tool, '#!/bin/sh\n{ cat "$2"; echo signed; } > "$3"\n')
    await chmod(tool, 0o755)
    const signed = await signFile(Buffer.from('bytes '), `"${tool}" --in {in} {out}`)
    expect(Buffer.from(signed).toString()).toBe('bytes signed\n')
    for (const command of ['false {in} {out}', 'true {in} {out}', '/nowhere/tool {in} {out}'])
      await expect(signFile(blob, command)).rejects.toMatchObject({ code: 'LB_SIGN' })
  })
})

const hasTools = ['makensis', 'osslsigncode', 'openssl'].every(
  (tool) => spawnSync(tool, ['--version']).error === undefined,
)

describe.skipIf(!hasTools)('a Windows launcher that is signed', () => {
  it('verifies with osslsigncode, executable and setup, and not after a byte was changed', async () => {
    const folder = await temporaryFolder()
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=A Studio', '-addext', 'extendedKeyUsage=codeSigning']
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', certificate]
    const made = spawnSync('openssl', [...request, ...subject])
    expect(made.status, made.stderr.toString()).toBe(0)
    const sign = `osslsigncode sign -certs "${certificate}" -key "${key}" -n "My Game" -in {in} -out {out}`
    const executable = await signFile(await makeWindowsExecutable(windowsNode(), blob, icon, identity), sign)
    const setup = await signFile(await makeWindowsSetup({ config, executable, fileName: 'My Game.exe', icon }), sign)
    const verify = async (bytes: Uint8Array): Promise<number | null> => {
      const file = join(folder, 'file.exe')
      await writeFile(file, bytes)
      return spawnSync('osslsigncode', ['verify', '-CAfile', certificate, '-in', file]).status
    }
    expect(await verify(executable)).toBe(0)
    expect(await verify(setup)).toBe(0)
    const changed = Uint8Array.from(setup)
    changed[2000] = (changed[2000] ?? 0) ^ 1
    expect(await verify(changed)).not.toBe(0)
    // The signature is behind the program: what is inside is found as before.
    const { entries } = NtExecutableResource.from(NtExecutable.from(executable, { ignoreCert: true }))
    expect(entries.some(({ id }) => id === 'NODE_SEA_BLOB')).toBe(true)
  }, 60_000)
})

describe('readPlayerBundle()', () => {
  it('refuses a bundle that is missing or not the recorded one (LB_BUNDLE)', async () => {
    const folder = await temporaryFolder()
    const url = pathToFileURL(`${folder}/`)
    await expect(readPlayerBundle(url)).rejects.toMatchObject({ code: 'LB_BUNDLE' })
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'player.cjs'), 'altered')
    await writeFile(join(folder, 'loader.cjs'), 'loader')
    await writeFile(join(folder, 'player.json'), '{"bundle":"00","loader":"00","packages":[]}')
    await expect(readPlayerBundle(url)).rejects.toMatchObject({ code: 'LB_BUNDLE' })
  })
})
