import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { base64Encode, ed25519Sign, hexEncode, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import {
  initialTrustState,
  parseManifest,
  parseTrustRoot,
  parseTrustState,
  pinnedKeysRoot,
  rebuildTrustState,
  verifyInstalled,
  verifyRelease,
  writeTrustState,
} from '../src/index.ts'
import { writeManifest } from '../src/publish/index.ts'
import type { TrustState } from '../src/index.ts'
import { codeOf } from './support/outcome.ts'
import { DAY, keyId, NOW, options, Publisher, seedOf } from './support/publisher.ts'
import type { MadeManifest, MakeManifestOptions } from './support/publisher.ts'

const vector = (name: string): Uint8Array => readFileSync(new URL(`vectors/legacy/${name}`, import.meta.url))
const legacyKey = new TextDecoder().decode(vector('public-key.hex')).trim()

const sign = (manifest: Uint8Array, name = 'legacy'): Uint8Array => ed25519Sign(seedOf(name), manifest)

function pinned(...names: string[]): TrustState {
  return initialTrustState(pinnedKeysRoot(names.map((name) => ({ key: keyId(name) }))))
}

async function schema1(publisher: Publisher, change: MakeManifestOptions = {}): Promise<MadeManifest> {
  const made = await publisher.manifest(change)
  const model = { ...made.model, schema: 1 as const }
  return publisher.seal(writeManifest(model), { ...model, sequence: made.pin.sequence })
}

const haveOpenSsl = ((): boolean => {
  try {
    return execFileSync('openssl', ['version'], { encoding: 'utf8' }).startsWith('OpenSSL 3')
  } catch {
    console.info('skipped: the openssl program is not here')
    return false
  }
})()

describe('a pair of the original launcher, made by OpenSSL', () => {
  it('verifies forever', () => {
    const state = initialTrustState(parseTrustRoot(`key:${legacyKey}`))
    const decision = verifyRelease(
      { manifest: vector('manifest.json'), legacySignature: vector('manifest.json.sig') },
      state,
      options(),
    )
    expect(decision).toMatchObject({
      outcome: 'accepted',
      trust: 'current',
      signedBy: [legacyKey],
      manifest: { schema: 1, format: 'legacy-json-blob', version: '2026.04.15-m2pack-v2' },
    })
    expect(
      decision.outcome === 'accepted' &&
        decision.manifest.files.map(({ path, platform, required, executable }) => [
          path,
          platform,
          required,
          executable,
        ]),
    ).toEqual([
      ['Metin2.exe', 'windows', true, false],
      ['bgm/údolí.mp3', 'all', false, false],
      ['pack/root.m2p', 'all', true, false],
      ['start-launcher.sh', 'linux', true, true],
    ])
  })

  it('is refused with one byte changed anywhere, before it is parsed (row 56)', () => {
    const state = initialTrustState(parseTrustRoot(`key:${legacyKey}`))
    const [manifest, legacySignature] = [vector('manifest.json'), vector('manifest.json.sig')]
    for (let at = 0; at < manifest.length; at++) {
      const changed = manifest.map((byte, index) => (index === at ? byte ^ 1 : byte))
      expect(codeOf(verifyRelease({ manifest: changed, legacySignature }, state, options()))).toBe('MAN_SIGNATURE')
    }
    for (let at = 0; at < 64; at++) {
      const changed = legacySignature.map((byte, index) => (index === at ? byte ^ 1 : byte))
      expect(codeOf(verifyRelease({ manifest, legacySignature: changed }, state, options()))).toBe('MAN_SIGNATURE')
    }
  })

  it.skipIf(!haveOpenSsl)('can be checked by OpenSSL when we write it', async () => {
    const publisher = await Publisher.create()
    const made = await publisher.manifest()
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-legacy-'))
    try {
      const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), Buffer.from(keyId('legacy'), 'hex')])
      writeFileSync(join(folder, 'key.der'), spki)
      writeFileSync(join(folder, 'manifest.json'), made.bytes)
      writeFileSync(join(folder, 'manifest.json.sig'), sign(made.bytes))
      const verify = (): string =>
        execFileSync(
          'openssl',
          [
            'pkeyutl',
            '-verify',
            '-rawin',
            '-pubin',
            '-keyform',
            'DER',
            '-inkey',
            'key.der',
            '-in',
            'manifest.json',
            '-sigfile',
            'manifest.json.sig',
          ],
          { cwd: folder, encoding: 'utf8' },
        )
      expect(verify()).toContain('Signature Verified Successfully')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('pinned keys', () => {
  it('take raw, hex and base64 signatures, with or without a line feed, and nothing else (row 57)', async () => {
    const publisher = await Publisher.create()
    const { bytes: manifest } = await schema1(publisher)
    const signature = sign(manifest)
    const good = [
      signature,
      ...[hexEncode(signature), base64Encode(signature)].flatMap((text) => [utf8Encode(text), utf8Encode(`${text}\n`)]),
    ]
    for (const legacySignature of good)
      expect(codeOf(verifyRelease({ manifest, legacySignature }, pinned('legacy'), options()))).toBe('accepted')
    const hex = hexEncode(signature)
    const bad = [
      new Uint8Array(0),
      signature.subarray(0, 63),
      new Uint8Array(65),
      utf8Encode(hex.slice(1)),
      utf8Encode(hex.toUpperCase()),
      utf8Encode(`${hex}\n\n`),
      utf8Encode(`${hex}\r\n`),
      utf8Encode(base64Encode(signature).replace(/=+$/, '')),
      new Uint8Array(300),
    ]
    for (const legacySignature of bad)
      expect(codeOf(verifyRelease({ manifest, legacySignature }, pinned('legacy'), options()))).toBe(
        'MAN_SIGNATURE_FORMAT',
      )
    expect(codeOf(verifyRelease({ manifest }, pinned('legacy'), options()))).toBe('MAN_SIGNATURE_FORMAT')
  })

  it('count only until their end, and any one of the list suffices (row 59)', async () => {
    const publisher = await Publisher.create()
    const { bytes: manifest } = await schema1(publisher)
    const until = initialTrustState(
      pinnedKeysRoot([{ key: keyId('legacy'), until: '2026-12-01T00:00:00Z' }, { key: keyId('newer') }]),
    )
    const at = (days: number, name: string): string =>
      codeOf(
        verifyRelease({ manifest, legacySignature: sign(manifest, name) }, until, options({ nowMs: NOW + days * DAY })),
      )
    expect([at(0, 'legacy'), at(11, 'legacy'), at(11, 'newer'), at(0, 'stranger')]).toEqual([
      'accepted',
      'MAN_KEY_RETIRED',
      'accepted',
      'MAN_SIGNATURE',
    ])
  })

  it('keep version order as the floor (rows 75, 76)', async () => {
    const publisher = await Publisher.create()
    const input = async (
      version: string,
      notes = version,
    ): Promise<{ manifest: Uint8Array; legacySignature: Uint8Array }> => {
      const { bytes: manifest } = await schema1(publisher, { version, notes })
      return { manifest, legacySignature: sign(manifest) }
    }
    const nine = await input('2026.11.21-9')
    const { state } = verifyRelease(nine, pinned('legacy'), options())
    expect(codeOf(verifyRelease(nine, state, options()))).toBe('accepted')
    expect(codeOf(verifyRelease(await input('2026.11.21-9', 'other'), state, options()))).toBe('MAN_EQUIVOCATION')
    expect(codeOf(verifyRelease(await input('2026.11.21-8'), state, options()))).toBe('MAN_ROLLBACK')
    expect(codeOf(verifyRelease(await input('2026.11.20-30'), state, options()))).toBe('MAN_ROLLBACK')
    expect(codeOf(verifyRelease(await input('2026.11.21-10'), state, options()))).toBe('accepted')
  })

  it('fall back on created_at where two versions cannot be compared', async () => {
    const publisher = await Publisher.create()
    const input = async (
      version: string,
      nowMs: number,
    ): Promise<{ manifest: Uint8Array; legacySignature: Uint8Array }> => {
      const { bytes: manifest } = await schema1(publisher, { nowMs, edit: (model) => ({ ...model, version }) })
      return { manifest, legacySignature: sign(manifest) }
    }
    const { state } = verifyRelease(await input('2026.04.15-m2pack-v2', NOW), pinned('legacy'), options())
    expect(codeOf(verifyRelease(await input('2026.04.15-m2pack-v1', NOW - DAY), state, options()))).toBe('MAN_ROLLBACK')
    expect(codeOf(verifyRelease(await input('2026.04.15-m2pack-v7', NOW + 1000), state, options()))).toBe('accepted')
    expect(codeOf(verifyRelease(await input('2026.04.15-9', NOW + 1000), state, options()))).toBe('MAN_ROLLBACK')
  })

  it('order releases of schema 2 by sequence, whatever they are called', async () => {
    const publisher = await Publisher.create()
    const input = async (
      version: string,
      sequence: number,
    ): Promise<{ manifest: Uint8Array; legacySignature: Uint8Array }> => {
      const { bytes: manifest } = await publisher.manifest({ version, place: { sequence } })
      return { manifest, legacySignature: sign(manifest) }
    }
    const { state } = verifyRelease(await input('2031.01.01-1', 4), pinned('legacy'), options())
    expect(codeOf(verifyRelease(await input('2026.11.21-1', 5), state, options()))).toBe('accepted')
    expect(codeOf(verifyRelease(await input('1.4.2', 5), state, options()))).toBe('accepted')
    expect(codeOf(verifyRelease(await input('2032.01.01-1', 3), state, options()))).toBe('MAN_ROLLBACK')
    expect(codeOf(verifyRelease(await input('1.4.2', 4), state, options()))).toBe('MAN_EQUIVOCATION')
  })

  it('never go back from schema 2 to schema 1', async () => {
    const publisher = await Publisher.create()
    const two = await publisher.manifest({ version: '2026.11.21-1' })
    const { state } = verifyRelease(
      { manifest: two.bytes, legacySignature: sign(two.bytes) },
      pinned('legacy'),
      options(),
    )
    const one = await schema1(publisher, { version: '2026.11.22-1' })
    expect(codeOf(verifyRelease({ manifest: one.bytes, legacySignature: sign(one.bytes) }, state, options()))).toBe(
      'MAN_DOWNGRADE',
    )
  })

  it('do not help under an identity, and an identity does not help here', async () => {
    const publisher = await Publisher.create()
    const { manifest, signatures, ...rest } = await publisher.release()
    expect(
      codeOf(verifyRelease({ ...rest, manifest, legacySignature: sign(manifest) }, publisher.state(), options())),
    ).toBe('MAN_MISSING')
    expect(codeOf(verifyRelease({ ...rest, manifest, signatures }, pinned('legacy'), options()))).toBe(
      'MAN_SIGNATURE_FORMAT',
    )
  })

  it('are refused when they are weak, doubled or missing', () => {
    for (const keys of [
      [],
      [{ key: '00'.repeat(32) }],
      [{ key: `01${'00'.repeat(31)}` }],
      [{ key: keyId('a') }, { key: keyId('a') }],
      [{ key: keyId('a'), until: 'soon' }],
    ]) {
      expect(() => pinnedKeysRoot(keys)).toThrow(expect.objectContaining({ code: 'TRUST_INVALID' }))
    }
  })

  it('verify an installed release offline, whatever the age of the key', async () => {
    const publisher = await Publisher.create()
    const { bytes: manifest } = await schema1(publisher)
    const state = initialTrustState(pinnedKeysRoot([{ key: keyId('legacy'), until: '2026-11-22T00:00:00Z' }]))
    expect(verifyInstalled({ manifest, legacySignature: sign(manifest) }, state).playable).toBe(true)
    expect(verifyInstalled({ manifest, legacySignature: sign(manifest, 'other') }, state).playable).toBe(false)
    expect(verifyInstalled({ manifest }, state).playable).toBe(false)
  })
})

describe('moving from pinned keys to an identity', () => {
  async function moved(): Promise<{ publisher: Publisher; bridge: MadeManifest; state: TrustState }> {
    const publisher = await Publisher.create()
    const bridge = await publisher.manifest({ place: { trustRoot: publisher.pin() } })
    const decision = verifyRelease(
      { manifest: bridge.bytes, legacySignature: sign(bridge.bytes) },
      pinned('legacy'),
      options(),
    )
    expect(codeOf(decision)).toBe('accepted')
    return { publisher, bridge, state: decision.state }
  }

  it('needs no new launcher: the manifest names the identity, the next cycle trusts it alone', async () => {
    const { publisher, bridge, state } = await moved()
    expect(state.root).toMatchObject({ kind: 'kel', prefix: publisher.last.prefix, place: { sn: 0 } })
    expect(parseTrustState(writeTrustState(state))).toEqual(state)
    // The same manifest, now pinned by a head: nothing to download.
    const same = verifyRelease(publisher.input(bridge, await publisher.head(bridge)), state, options())
    expect(same).toMatchObject({ outcome: 'accepted', manifestSha256: bridge.pin.sha256 })
    const next = verifyRelease(await publisher.release(), same.state, options())
    expect(codeOf(next)).toBe('accepted')
  })

  it('starts the release that led there, offline, before the identity has signed anything', async () => {
    const { publisher, bridge, state } = await moved()
    const installed = { manifest: bridge.bytes, legacySignature: sign(bridge.bytes) }
    expect(verifyInstalled(installed, state).playable).toBe(true)
    expect(verifyInstalled({ ...installed, legacySignature: sign(bridge.bytes, 'thief') }, state).playable).toBe(false)
    const other = await publisher.manifest({ version: '2026.12.01-1' })
    expect(verifyInstalled({ manifest: other.bytes, legacySignature: sign(other.bytes) }, state)).toMatchObject({
      playable: false,
      error: { code: 'TRUST_LOST' },
    })
    const { movedFrom, ...forgotten } = state
    expect(movedFrom?.keys).toHaveLength(1)
    expect(verifyInstalled(installed, forgotten).playable).toBe(false)
  })

  it('knows no way back', async () => {
    const { publisher, state } = await moved()
    const later = await publisher.manifest({ version: '2026.11.30-1' })
    const back = verifyRelease({ manifest: later.bytes, legacySignature: sign(later.bytes) }, state, options())
    expect(codeOf(back)).toBe('TRUST_MISSING')
    expect(back.state).toEqual(state)
    expect(rebuildTrustState(state.root, {}).root).toEqual(state.root)
  })

  it('keeps its floors over the move', async () => {
    const { publisher, bridge, state } = await moved()
    const older = await publisher.manifest({ place: { sequence: bridge.pin.sequence }, notes: 'rival' })
    expect(codeOf(verifyRelease(publisher.input(older, await publisher.head(older)), state, options()))).toBe(
      'MAN_EQUIVOCATION',
    )
  })

  it('wants an identity with a place, signed by a pinned key', async () => {
    const publisher = await Publisher.create()
    for (const trustRoot of [`key:${keyId('x')}`, publisher.pin().split('?')[0] as string, 'did:web:x']) {
      const bridge = await publisher.manifest({ place: { trustRoot } })
      expect(
        codeOf(
          verifyRelease({ manifest: bridge.bytes, legacySignature: sign(bridge.bytes) }, pinned('legacy'), options()),
        ),
      ).toBe('TRUST_INVALID')
    }
    const stolen = await publisher.manifest({ place: { trustRoot: publisher.pin() } })
    const refused = verifyRelease(
      { manifest: stolen.bytes, legacySignature: sign(stolen.bytes, 'thief') },
      pinned('legacy'),
      options(),
    )
    expect(refused.state.root.kind).toBe('pinned-keys')
  })

  it('cannot be forced on an install that has an identity', async () => {
    const publisher = await Publisher.create()
    const other = await Publisher.create({ identity: 'other' })
    const decision = verifyRelease(
      await publisher.release({ place: { trustRoot: other.pin() } }),
      publisher.state(),
      options(),
    )
    expect(codeOf(decision)).toBe('accepted')
    expect(decision.state.root).toEqual(publisher.state().root)
  })
})

describe('rebuildTrustState() under pinned keys', () => {
  it('gives the floors back from stored pairs', async () => {
    const publisher = await Publisher.create()
    const { bytes: manifest } = await schema1(publisher)
    const legacySignature = sign(manifest)
    const { state } = verifyRelease({ manifest, legacySignature }, pinned('legacy'), options())
    expect(rebuildTrustState(state.root, { manifests: [{ manifest, legacySignature }] })).toEqual(state)
    expect(parseManifest(manifest).schema).toBe(1)
  })
})
