import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { createTransportIdentity, memoryDirectory } from '../src/index.ts'
import type { KeyDirectory } from '../src/index.ts'
import { Publisher, transportPublicKey } from '../src/owner/index.ts'
import { KeyFloors, lookUpKeys, preferredKey } from '../src/reader/index.ts'

const DAY_MS = 86_400_000

/** An owner whose clock the test moves, and a peer that reads after it. */
class Scene {
  readonly owner = createTransportIdentity()
  readonly floors = new KeyFloors()
  stored: Uint8Array | undefined
  nowMs = 1_800_000_000_000
  directory: KeyDirectory = memoryDirectory()

  publisher(): Publisher {
    return new Publisher({
      identity: this.owner,
      directory: this.directory,
      withSeed: (use) => use(this.owner.seed),
      stored: this.stored,
      store: (metadata) => {
        this.stored = metadata
      },
      clock: () => this.nowMs,
    })
  }

  async preferred(): Promise<string> {
    const nowS = Math.floor(this.nowMs / 1000)
    return preferredKey(await lookUpKeys(this.directory, this.owner, this.floors, { nowS })).device
  }
}

describe('Publisher', () => {
  it('keeps rotations going for a year with announce() once a day; readers always find a key', async () => {
    const scene = new Scene()
    const seen = new Set<string>()
    const done: string[] = []
    for (let day = 0; day < 365; day += 1) {
      const announced = await scene.publisher().announce()
      done.push(...announced.done)
      expect(await scene.preferred()).toBe(announced.active.device)
      seen.add(announced.active.device)
      scene.nowMs += DAY_MS
    }
    expect([...seen]).toEqual(['server', 'server-v2', 'server-v3', 'server-v4', 'server-v5'].slice(0, seen.size))
    expect(seen.size).toBeGreaterThanOrEqual(4)
    expect(done.filter((action) => action === 'cut-over')).toHaveLength(seen.size - 1)
    expect(done.filter((action) => action === 'retire').length).toBeGreaterThanOrEqual(seen.size - 2)
  })

  it('revokes the active key and puts the announced or a fresh one in its place at once', async () => {
    const scene = new Scene()
    const publisher = scene.publisher()
    await publisher.announce()
    expect(await publisher.revoke('compromise')).toMatchObject({
      active: { device: 'server-v2' },
      done: ['revoke'],
      ended: [{ device: 'server' }],
    })
    expect(await scene.preferred()).toBe('server-v2')
    await expect(publisher.revoke('lost', 'nobody')).rejects.toThrow(expect.objectContaining({ code: 'NK_METADATA' }))
    await expect(publisher.withSecret(() => 0, 'server')).rejects.toThrow(
      expect.objectContaining({ code: 'NK_METADATA' }),
    )
  })

  it('stores before it publishes, so that a call that failed is made again and readers never go back', async () => {
    const scene = new Scene()
    await scene.publisher().announce()
    await scene.preferred()
    const working = scene.directory
    const failing = async (): Promise<never> => {
      throw new Error('the network is down')
    }
    scene.directory = {
      ...working,
      read: (one) => working.read(one),
      putPacket: failing,
      putList: failing,
      putRecord: failing,
    }
    await expect(scene.publisher().revoke('lost')).rejects.toThrow()
    scene.directory = working
    expect(await scene.publisher().announce()).toMatchObject({ active: { device: 'server-v2' } })
    expect(await scene.preferred()).toBe('server-v2')
  })

  it('lends the secret that was published, and wipes it', async () => {
    const scene = new Scene()
    const publisher = scene.publisher()
    const { active } = await publisher.announce()
    let kept = new Uint8Array(0)
    const publicKey = await publisher.withSecret((secret) => {
      kept = secret as Uint8Array<ArrayBuffer>
      return transportPublicKey(secret)
    })
    expect(Buffer.from(publicKey).toString('base64')).toBe(active.publicKey)
    expect(kept.every((byte) => byte === 0)).toBe(true)
  })

  it('refuses what was stored for another identity', async () => {
    const [one, other] = [new Scene(), new Scene()]
    await one.publisher().announce()
    other.stored = one.stored
    expect(() => other.publisher()).toThrow(expect.objectContaining({ code: 'NK_METADATA' }))
  })

  it('is shown whole in the README: the example there is the one that runs', () => {
    const [, ...lines] = readFileSync(new URL('../examples/publisher.ts', import.meta.url), 'utf8').split('\n')
    const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')
    expect(readme).toContain(lines.join('\n'))
  })
})
