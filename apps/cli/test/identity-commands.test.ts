import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { appendFileSync, cpSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { base64Decode, dssePae, ed25519Verify, hexDecode } from '@keyturn/primitives'
import { codeOf, dataOf } from './support/keyturn.ts'
import type { Outcome } from './support/keyturn.ts'
import { IdentityCopies } from './support/identity-copies.ts'

type Data = Record<string, unknown>

const copies = IdentityCopies.use('main')
const path = (...parts: readonly string[]): string => copies.path(...parts)
const file = (name: string, content?: string): string => copies.file(name, content)
const run = (...args: readonly string[]): Promise<Outcome> => copies.run(...args)
const data = (...args: readonly string[]): Promise<Data> => copies.data(...args)
const runIn = (home: string, ...args: readonly string[]): Promise<Outcome> => copies.runIn(home, ...args)

/** Every file of a folder with its content, in one digest. */
function digestOf(home: string): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(home, { recursive: true, encoding: 'utf8' }).sort()) {
    const entry = join(home, name)
    hash.update(`${name}\0`)
    if (statSync(entry).isFile()) hash.update(readFileSync(entry))
  }
  return hash.digest('hex')
}

describe('keyturn id', () => {
  it('shows what init made, and answers every event of the exported log', async () => {
    const shown = await data('id', 'show')
    expect(shown).toMatchObject({
      kind: 'named',
      alias: 'main',
      pin: copies.made['pin'],
      state: copies.made['state'],
      event_count: 1,
      rotation_pending: false,
    })
    expect(shown['next_keys']).toMatchObject([{ present: true, beside: true }])
    const other = path('other')
    await runIn(other, 'id', 'init', '--alias', 'apart', '--next-key-file', path('other-than-home.keystore'), '--yes')
    expect(dataOf(await runIn(other, 'id', 'show'))['next_keys']).toMatchObject([{ present: true, beside: false }])
    await data('id', 'rotate')
    const log = await data('id', 'log')
    expect(log['events']).toMatchObject([
      { sn: 0, type: 'icp' },
      { sn: 1, type: 'rot' },
    ])
    await data('id', 'export', path('log.cesr'))
    expect(dataOf(await runIn(path('nowhere'), 'id', 'log', '--file', path('log.cesr')))).toEqual(log)
    const checked = await data('id', 'check', path('log.cesr'))
    expect(checked).toMatchObject({
      sound: true,
      state: log['state'],
      messages: [
        { sn: 0, verdict: 'accept' },
        { sn: 1, verdict: 'accept' },
      ],
    })
  })

  it('says no to an exported log that was changed, with exit 1', async () => {
    await data('id', 'rotate')
    await data('id', 'export', path('log.cesr'))
    const bytes = readFileSync(path('log.cesr'))
    const last = bytes.length - 10
    bytes[last] = bytes[last] === 0x41 ? 0x42 : 0x41
    writeFileSync(path('bad.cesr'), bytes)
    const outcome = await run('id', 'check', path('bad.cesr'))
    expect(outcome.code).toBe(1)
    expect(dataOf(outcome)).toMatchObject({ sound: false, state: { sn: 0 } })
  })

  it('takes exported events over once, overwrites no file, and refuses a rival log', async () => {
    cpSync(path('home'), path('other'), { recursive: true })
    cpSync(path('home'), path('rival'), { recursive: true })
    const { said } = await data('id', 'rotate')
    await data('id', 'export', path('log.cesr'))
    expect(codeOf(await run('id', 'export', path('log.cesr')))).toBe('CLI_EXISTS')
    expect(dataOf(await runIn(path('other'), 'id', 'import', path('log.cesr')))).toMatchObject({
      taken: 1,
      sn: 1,
      said,
    })
    expect(dataOf(await runIn(path('other'), 'id', 'import', path('log.cesr')))).toMatchObject({
      taken: 0,
      sn: 1,
      said,
    })
    dataOf(await runIn(path('other'), 'id', 'export', path('again.cesr')))
    expect(readFileSync(path('again.cesr')).equals(readFileSync(path('log.cesr')))).toBe(true)
    dataOf(await runIn(path('rival'), 'id', 'rotate', '--yes'))
    const forked = await runIn(path('rival'), 'id', 'import', path('log.cesr'))
    expect([codeOf(forked), forked.code]).toEqual(['KEL_DUPLICITY', 4])
  })
})

describe('keyturn id import', () => {
  it('takes events in the order of the file: what a rotation superseded, then the rotation', async () => {
    cpSync(path('home'), path('owner'), { recursive: true })
    cpSync(path('home'), path('reader'), { recursive: true })
    for (const name of ['one', 'two']) await data('sign', file(name, name), '--seal')
    await data('id', 'export', path('interactions.cesr'))
    const { said } = dataOf(await runIn(path('owner'), 'id', 'rotate', '--yes'))
    dataOf(await runIn(path('owner'), 'id', 'export', path('rotation.cesr')))
    dataOf(await runIn(path('reader'), 'id', 'export', path('inception.cesr')))
    const [inception, rotated] = [readFileSync(path('inception.cesr')), readFileSync(path('rotation.cesr'))]
    writeFileSync(
      path('log.cesr'),
      Buffer.concat([readFileSync(path('interactions.cesr')), rotated.subarray(inception.length)]),
    )
    expect(dataOf(await runIn(path('reader'), 'id', 'import', path('log.cesr')))).toMatchObject({
      taken: 3,
      sn: 1,
      said,
    })
    dataOf(await runIn(path('reader'), 'id', 'export', path('again.cesr')))
    expect(readFileSync(path('again.cesr')).equals(readFileSync(path('log.cesr')))).toBe(true)
  })
})

describe('keyturn sign and verify', () => {
  it('holds for the file as it was signed, and for no other content', async () => {
    const setup = file('setup.exe', 'first\n')
    expect(await data('sign', setup)).toMatchObject({ purpose: 'file', sn: 0, name: 'setup.exe' })
    const outcome = await run('verify', setup)
    expect(outcome.code).toBe(0)
    expect(dataOf(outcome)).toMatchObject({
      valid: true,
      proven: true,
      accepted: true,
      position: 'current',
      retired_by: null,
    })
    appendFileSync(setup, 'more')
    const changed = await run('verify', setup)
    expect([changed.code, codeOf(changed)]).toEqual([4, 'KEL_STATEMENT'])
  })

  it('after a rotation believes a sealed place, and one only claimed when a flag says so', async () => {
    const sealed = file('sealed', 'sealed\n')
    const claimed = file('claimed', 'claimed\n')
    expect(await data('sign', sealed, '--seal')).toMatchObject({ sealed_at: 1 })
    await data('sign', claimed, '--unlisted')
    await data('id', 'rotate')
    const valid = await run('verify', sealed)
    expect(valid.code).toBe(0)
    expect(dataOf(valid)).toMatchObject({
      proven: true,
      position: 'sealed',
      sealed_by: { sn: 1 },
      retired_by: { sn: 2 },
    })
    const unproven = await run('verify', claimed)
    expect(unproven.code).toBe(1)
    expect(dataOf(unproven)).toMatchObject({
      valid: true,
      proven: false,
      accepted: false,
      position: 'claimed',
      code: 'KEL_POSITION_UNPROVEN',
    })
    const allowed = await run('verify', claimed, '--allow-unproven')
    expect(allowed.code).toBe(0)
    expect(dataOf(allowed)).toMatchObject({ proven: false, accepted: true })
  })

  it('signs an event or a manifest as a statement only', async () => {
    await data('id', 'export', path('event.cesr'))
    for (const [subject, type] of [
      [path('event.cesr'), 'application/cesr'],
      [file('manifest.json', '{"type":"keyturn.manifest","schema":1}'), 'application/vnd.keyturn.manifest+json'],
    ] as const) {
      await data('sign', subject)
      const envelope = JSON.parse(readFileSync(`${subject}.sig`, 'utf8')) as {
        payloadType: string
        payload: string
        signatures: { keyid: string; sig: string }[]
      }
      const [entry] = envelope.signatures
      const verifies = (message: Uint8Array): boolean =>
        ed25519Verify(hexDecode(entry!.keyid), message, base64Decode(entry!.sig))
      expect(envelope.payloadType).toBe('application/vnd.keyturn.statement+json')
      expect(verifies(dssePae(envelope.payloadType, base64Decode(envelope.payload)))).toBe(true)
      expect(verifies(readFileSync(subject))).toBe(false)
      expect(verifies(dssePae(type, readFileSync(subject)))).toBe(false)
    }
  })

  it('proves a commit by its descendant that the rotation sealed, and takes no file signature for it', async () => {
    const repo = path('repo')
    mkdirSync(repo)
    const git = (...args: readonly string[]): Buffer =>
      execFileSync('git', ['-C', repo, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    git('init', '-q')
    for (const [name, value] of [
      ['user.name', 'Test'],
      ['user.email', 'test@example.org'],
      ['commit.gpgsign', 'false'],
    ] as const)
      git('config', name, value)
    const commit = (message: string): Buffer => git('commit', '-q', '--allow-empty', '-m', message)
    commit('first')
    await data('sign', '--commit', 'HEAD', '--repo', repo, '--unlisted')
    commit('tip')
    await data('sign', '--commit', 'HEAD', '--repo', repo)
    await data('id', 'rotate', '--seal-tip', repo)
    expect(await data('verify', '--commit', 'HEAD', '--repo', repo)).toMatchObject({
      purpose: 'commit',
      proven: true,
      position: 'sealed',
    })
    expect(await data('verify', '--commit', 'HEAD~1', '--repo', repo)).toMatchObject({
      proven: true,
      position: 'ancestor',
      retired_by: { sn: 1 },
    })
    // The signature of one commit, as a note of another one.
    git('notes', '--ref', 'keyturn', 'copy', '--force', 'HEAD', 'HEAD~1')
    const foreign = await run('verify', '--commit', 'HEAD~1', '--repo', repo)
    expect([foreign.code, foreign.stderr + foreign.stdout]).toEqual([4, expect.stringContaining('KEL_STATEMENT')])
    writeFileSync(path('commit'), git('cat-file', 'commit', 'HEAD'))
    await data('sign', path('commit'))
    expect((await run('verify', '--commit', 'HEAD', '--repo', repo, '--signature', path('commit.sig'))).code).toBe(4)
  })
})

describe('keyturn device', () => {
  it('keeps a link until the next rotation, and a revocation for good', async () => {
    const list = async (...flags: readonly string[]): Promise<unknown> =>
      (await data('device', 'list', ...flags))['devices']
    const { did } = await data('device', 'link', '--name', 'box', '--note', 'in the rack')
    expect(await list()).toMatchObject([{ did, name: 'box', status: 'linked', note: 'in the rack', sn: 0 }])
    await data('id', 'rotate')
    expect(await list()).toMatchObject([{ did, status: 'void' }])
    await data('device', 'link', '--name', 'box', '--did', String(did))
    expect(await list()).toMatchObject([{ did, status: 'linked', sn: 1 }])
    const unasked = await runIn(path('home'), 'device', 'revoke', 'box')
    expect([codeOf(unasked), unasked.code]).toEqual(['CLI_NO_TERMINAL', 2])
    await data('device', 'revoke', 'box')
    expect(await list()).toEqual([])
    expect(await list('--include-revoked')).toMatchObject([{ did, status: 'revoked' }])
    expect(codeOf(await run('device', 'revoke', 'box'))).toBe('KEL_ATTESTATION')
  })
})

describe('keyturn emergency', () => {
  it('rehearses a rotation and changes nothing, and does nothing unasked', async () => {
    const before = digestOf(path('home'))
    expect(await data('emergency', 'rotate-now', '--dry-run', '--reason', 'drill')).toMatchObject({
      dry_run: true,
      before: { sn: 0 },
      after: { sn: 1 },
    })
    expect(digestOf(path('home'))).toBe(before)
    for (const flags of [[], ['--current-alias', 'main', '--next-alias', 'main-2', '--reason', 'stolen']]) {
      const outcome = await runIn(path('home'), 'emergency', 'rotate-now', ...flags)
      expect([codeOf(outcome), outcome.code]).toEqual(['CLI_NO_TERMINAL', 2])
    }
    expect(digestOf(path('home'))).toBe(before)
  })

  it('rotates at once, seals the digest of the reason, and reports what is left to do', async () => {
    await data('device', 'link', '--name', 'box')
    const done = await data('emergency', 'rotate-now', '--reason', 'laptop stolen')
    expect(done).toMatchObject({ sn: 1, resumed: false })
    expect(done['keys']).not.toEqual(done['old_keys'])
    const log = await data('id', 'log')
    expect(log['events']).toMatchObject([
      { sn: 0 },
      { sn: 1, type: 'rot', said: done['said'], seals: [{ d: done['reason_sealed'] }] },
    ])
    const report = await data('emergency', 'report', '--output', path('incident.json'))
    expect(report).toMatchObject({
      rotated: { sn: 1, reason: 'laptop stolen' },
      state: { sn: 1 },
      recent_events: [{ sn: 1, reason: 'laptop stolen' }, { sn: 0 }],
      duplicity: [],
      devices: [{ name: 'box', status: 'void' }],
      frozen_until: null,
    })
    expect(JSON.stringify(report['recommendations'])).toContain('keyturn device link')
    expect(JSON.stringify(report['recommendations'])).not.toContain('If the current key may')
    expect(JSON.parse(readFileSync(path('incident.json'), 'utf8'))).toEqual(report)
  })

  it('signs nothing while frozen, and again after that', async () => {
    const setup = file('setup.exe', 'first\n')
    const { frozen_until: until } = await data(
      'emergency',
      'freeze',
      '--duration',
      '2h',
      '--reason',
      'CI was broken into',
    )
    expect(await data('emergency', 'report')).toMatchObject({ frozen_until: until })
    for (const args of [
      ['sign', setup],
      ['device', 'link', '--name', 'box'],
    ]) {
      const outcome = await run(...args)
      expect([codeOf(outcome), outcome.code]).toEqual(['KEL_FROZEN', 4])
    }
    expect(await data('emergency', 'unfreeze')).toEqual({ was_frozen: true })
    expect(await data('emergency', 'unfreeze')).toEqual({ was_frozen: false })
    await data('sign', setup)
  })
})
