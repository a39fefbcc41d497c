import { seedSigner } from '@keyturn/kel/owner'
import { ed25519PublicKey, ed25519Sign, utf8Encode } from '@keyturn/primitives'
import { describe, expect, it } from 'vitest'
import { verifyDownload } from '../src/index.ts'
import { publishFiles, rotatePublication, startPublication } from '../src/publish/index.ts'
import type { DocumentSigner, IdentityKeys, PublicationKeys } from '../src/publish/index.ts'

const DAY_MS = 86_400_000
const nowMs = Date.parse('2026-11-21T12:00:00Z')
const at = (days: number) => ({ nowMs: nowMs + days * DAY_MS })

function signer(byte: number): DocumentSigner {
  const seed = new Uint8Array(32).fill(byte)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}
const identityOf = (byte: number): IdentityKeys => ({
  identity: seedSigner([new Uint8Array(32).fill(byte)]),
  nextIdentity: seedSigner([new Uint8Array(32).fill(byte + 1)]).publicKeys,
})
const keys: PublicationKeys = { release: signer(1), head: signer(2) }
const content = utf8Encode('the tool')
const files = [{ path: 'tool.tgz', bytes: content }]

async function started() {
  return await startPublication('tool', { ...keys, ...identityOf(10) }, at(0))
}
const codeOf = (call: () => unknown): unknown => {
  try {
    call()
    return 'no error'
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

describe('publishFiles() and verifyDownload()', () => {
  it('verifyDownload() accepts what publishFiles() made, and each of its files', async () => {
    const { pin, state } = await started()
    const { release } = await publishFiles(files, keys, state, { version: '1.2.3', notes: 'first', ...at(0) })
    const download = verifyDownload(release, pin, undefined, at(1))
    expect(download).toMatchObject({ product: 'tool', version: '1.2.3', notes: 'first' })
    expect(download.files).toMatchObject([{ path: 'tool.tgz', size: content.length }])
    download.requireFile('tool.tgz', content)
    expect(codeOf(() => download.requireFile('tool.tgz', utf8Encode('the fool')))).toBe('MAN_FILE')
    expect(codeOf(() => download.requireFile('tool.tgz', utf8Encode('short')))).toBe('MAN_FILE')
    expect(codeOf(() => download.requireFile('other.tgz', content))).toBe('MAN_FILE')
  })

  it('verifyDownload() refuses an older release once it has seen a newer one, and a stale one', async () => {
    const { pin, state } = await started()
    const first = await publishFiles(files, keys, state, { version: '1.0.0', ...at(0) })
    const second = await publishFiles(files, keys, first.state, { version: '1.1.0-beta.1', ...at(1) })
    const seen = verifyDownload(second.release, pin, undefined, at(2)).state
    expect(codeOf(() => verifyDownload(first.release, pin, seen, at(2)))).toBe('MAN_ROLLBACK')
    expect(codeOf(() => verifyDownload(second.release, pin, seen, at(9)))).toBe('MAN_EXPIRED')
    const slack = { ...at(9), expiredForMs: 5 * DAY_MS }
    expect(verifyDownload(second.release, pin, seen, slack).version).toBe('1.1.0-beta.1')
    const renewed = await publishFiles([], keys, second.state, at(8))
    expect(verifyDownload(renewed.release, pin, seen, at(9)).version).toBe('1.1.0-beta.1')
  })

  it('rotatePublication() moves to other keys under the same pin; the old ones count for nothing', async () => {
    const { pin, state } = await started()
    const first = await publishFiles(files, keys, state, { version: '1', ...at(0) })
    const seen = verifyDownload(first.release, pin, undefined, at(0)).state
    const others = { release: signer(3), head: signer(4) }
    const rotated = await rotatePublication(first.state, { ...others, ...identityOf(11) }, at(1))
    await expect(publishFiles(files, keys, rotated, { version: '2', ...at(1) })).rejects.toMatchObject({
      code: 'MAN_KEY_UNKNOWN',
    })
    const second = await publishFiles(files, others, rotated, { version: '2', ...at(1) })
    const next = verifyDownload(second.release, pin, seen, at(1))
    expect(next.version).toBe('2')
    // The thief of the old keys goes on from the old state.
    const stolen = await publishFiles(files, keys, first.state, { version: '9', ...at(2) })
    expect(codeOf(() => verifyDownload(stolen.release, pin, next.state, at(2)))).toBe('KEL_ROLLBACK')
    await expect(rotatePublication(rotated, { ...others, ...identityOf(20) })).rejects.toMatchObject({
      code: 'KEL_NEXT_COMMITMENT',
    })
  })

  it('verifyDownload() refuses another pin, a bare prefix, a changed release and a damaged state', async () => {
    const [{ pin, state }, other] = [
      await started(),
      await startPublication('tool', { ...keys, ...identityOf(30) }, at(0)),
    ]
    const { release } = await publishFiles(files, keys, state, { version: '1', ...at(0) })
    const seen = verifyDownload(release, pin, undefined, at(0)).state
    expect(codeOf(() => verifyDownload(release, other.pin, undefined, at(0)))).toMatch(/^(TRUST|KEL)_/)
    expect(codeOf(() => verifyDownload(release, other.pin, seen, at(0)))).toBe('TRUST_STATE')
    expect(codeOf(() => verifyDownload(release, pin.split('?')[0] as string, undefined))).toBe('TRUST_INVALID')
    expect(codeOf(() => verifyDownload(release, pin, undefined, { ...at(0), product: 'fool' }))).toBe(
      'MAN_APP_MISMATCH',
    )
    for (const [from, to] of [
      ['"manifest": "ew', '"manifest": "fw'],
      ['"head": "ew', '"head": "!!'],
      ['keyturn.release', 'keyturn.other'],
    ] as const) {
      const changed = new TextDecoder().decode(release).replace(from, to)
      expect(changed).not.toBe(new TextDecoder().decode(release))
      expect(codeOf(() => verifyDownload(utf8Encode(changed), pin, undefined, at(0)))).toMatch(/^(MAN|TRUST)_/)
    }
    for (let cut = 1; cut < seen.length; cut += 37)
      expect(codeOf(() => verifyDownload(release, pin, seen.subarray(0, cut), at(0)))).toBe('TRUST_STATE')
  })

  it('verifyDownload() remembers a publisher who signed two releases with one number', async () => {
    const { pin, state } = await started()
    const one = await publishFiles(files, keys, state, { version: '1', ...at(0) })
    const two = await publishFiles(files, keys, state, { version: '1b', ...at(0) })
    const seen = verifyDownload(one.release, pin, undefined, at(0)).state
    let kept: Uint8Array | undefined
    const onRefused = (next: Uint8Array): void => {
      kept = next
    }
    expect(codeOf(() => verifyDownload(two.release, pin, seen, { ...at(0), onRefused }))).toBe('MAN_EQUIVOCATION')
    expect(codeOf(() => verifyDownload(one.release, pin, kept, at(0)))).toBe('TRUST_FORKED')
  })

  it('publishFiles() needs a version for the first release, and one release key apart from the head key', async () => {
    const { state } = await started()
    await expect(publishFiles([], keys, state, at(0))).rejects.toThrow('options must have version')
    await expect(publishFiles([], keys, state, { version: '1', ...at(0) })).rejects.toThrow('files must not be empty')
    const first = await publishFiles(files, keys, state, { version: '1', ...at(0) })
    await expect(publishFiles(files, keys, first.state, at(0))).rejects.toThrow('files must be empty')
    await expect(publishFiles(files, keys, state, { version: '1', headDays: 31 })).rejects.toThrow('headDays')
    const same = { release: keys.release, head: keys.release, ...identityOf(10) }
    await expect(startPublication('tool', same)).rejects.toMatchObject({ code: 'TRUST_ROLES' })
  })
})
