import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { codeOf, keyturn } from '../support/keyturn.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyturn-demo-test-'))
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
})

interface Answer {
  ok: boolean
  command: string
  data: {
    steps: { name: string; ms: number; ok: boolean; note: string; bytes?: number }[]
    totals: Record<string, number>
  }
}

describe('keyturn demo', () => {
  it('tells the whole story on a small tree: every step holds, six attacks are refused, nothing is left behind', async () => {
    for (let n = 0; n < 60; n += 1) {
      await mkdir(join(folder, 'in', n % 2 === 0 ? 'data' : 'sound', `m${n % 6}`), { recursive: true })
      await writeFile(
        join(folder, 'in', n % 2 === 0 ? 'data' : 'sound', `m${n % 6}`, `${n}.txt`),
        `file ${n}\n`.repeat(500),
      )
    }
    const outcome = await keyturn(['demo', '--input', join(folder, 'in'), '--json'], { env: { TMPDIR: folder } })
    const { ok, command, data } = JSON.parse(outcome.stdout) as Answer
    expect(data.steps.filter((step) => !step.ok)).toEqual([])
    expect([outcome.code, ok, command]).toEqual([0, true, 'demo'])
    expect(data.steps.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'keystore-and-identity',
        'archives',
        'install',
        'start-client-1',
        'rotate-content-key',
        'edit-3-percent',
        'delta-update',
        'rotate-identity',
        'refuse-old-release-key',
        'refuse-old-identity-key',
        'refuse-interaction-event',
        'refuse-archive-byte',
        'refuse-manifest-byte',
        'refuse-stale-manifest',
      ]),
    )
    expect(data.totals).toMatchObject({ refusals: 6, files: 60, identity_turn_bytes: 0 })
  }, 900_000)

  it('says which checks do not hold, and exits as refused, when the input becomes no archive (CLI_DEMO)', async () => {
    await mkdir(join(folder, 'in'))
    await writeFile(join(folder, 'in/loose.txt'), 'no folder, so no archive')
    const outcome = await keyturn(['demo', '--input', join(folder, 'in'), '--json'], { env: { TMPDIR: folder } })
    const { ok, data, error } = JSON.parse(outcome.stdout) as Answer & { error: { code: string; message: string } }
    expect([outcome.code, ok, error.code]).toEqual([4, false, 'CLI_DEMO'])
    const failed = data.steps.filter((step) => !step.ok).map(({ name }) => name)
    expect(failed).toContain('start-client-1')
    expect(error.message).toContain(failed.join(', '))
  }, 900_000)

  it('refuses an input that is not there or no folder, before anything is made', async () => {
    await writeFile(join(folder, 'file'), '')
    for (const input of [join(folder, 'nothing'), join(folder, 'file')]) {
      const outcome = await keyturn(['demo', '--input', input, '--json'])
      expect([outcome.code, codeOf(outcome)]).toEqual([2, 'CLI_PATH_UNKNOWN'])
    }
  })

  it('refuses a folder that is not empty', async () => {
    await writeFile(join(folder, 'x'), '')
    expect((await keyturn(['demo', '--dir', folder, '--json'])).code).toBe(2)
  })
})
