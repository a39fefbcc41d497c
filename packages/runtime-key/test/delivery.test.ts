import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { hexEncode, sha256 } from '@keyturn/primitives'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeRuntimeKeyBlob } from '../src/index.ts'
import {
  deliveryNamed,
  envDelivery,
  fdDelivery,
  posixSharedMemory,
  receiveRuntimeKey,
  RUNTIME_KEY_VARIABLES,
  sharedMemoryDelivery,
  SHARED_MEMORY_FOLDER,
  sweepSharedMemory,
} from '../src/node/index.ts'
import type { DeliveredChild, RuntimeKeyDelivery } from '../src/node/index.ts'
import { answerOf, clientCommand, endClient, program } from './children/harness.ts'
import { codeOf, keyBytes, makeKey, rejectionOf, verifier } from './fixtures.ts'

const names = Object.values(RUNTIME_KEY_VARIABLES) as string[]
const keySha256 = hexEncode(sha256(keyBytes()))
const deliveries = ['env', 'fd', 'shared-memory'] as const
// Of this process alone: others may deliver keys on the same machine.
const mappings = (): string[] =>
  readdirSync(SHARED_MEMORY_FOLDER).filter((name) => name.startsWith(`M2PackSharedKeys-${process.pid}-`))
/** For a child that will take its key, however busy the machine is. */
const patient = { timeoutMs: 240_000 }

let folder: string
const running: DeliveredChild[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'runtime-key-'))
})
afterEach(async () => {
  for (const started of running.splice(0)) {
    await started.received.catch(() => {})
    await endClient(started)
  }
  rmSync(folder, { recursive: true, force: true })
})

async function start(delivery: RuntimeKeyDelivery, extra = {}): Promise<DeliveredChild> {
  const started = await delivery.deliver(makeKey(), clientCommand(extra))
  started.received.catch(() => {})
  running.push(started)
  return started
}

describe.each(deliveries)('%s delivery', (name) => {
  it('hands the key to a real child', async () => {
    const started = await start(deliveryNamed(name, patient))
    const answer = await answerOf(started)
    expect(answer).toMatchObject({ ok: true, keyId: 4, keySha256, verifier: hexEncode(verifier) })
    await started.received
  })

  it('leaves the parent environment as it was (row 99)', async () => {
    const before = { ...process.env }
    const environ = readFileSync('/proc/self/environ', 'latin1')
    const started = await start(deliveryNamed(name, patient))
    expect({ ...process.env }).toEqual(before)
    await answerOf(started)
    expect({ ...process.env }).toEqual(before)
    expect(readFileSync('/proc/self/environ', 'latin1')).toBe(environ)
    for (const variable of names) expect(environ).not.toContain(variable)
  })

  it('passes on nothing that was inherited, and warns with the name alone (row 98)', async () => {
    const warnings: unknown[] = []
    const env = {
      ...process.env,
      M2PACK_MASTER_KEY_HEX: 'ab'.repeat(32),
      M2PACK_KEY_ID: '9',
      m2pack_key_fd: '7',
      M2PACK_KEY_MAP: '/x',
    }
    const started = await start(deliveryNamed(name, { ...patient, onInherited: (warning) => warnings.push(warning) }), {
      env,
    })
    expect(await answerOf(started)).toMatchObject({ ok: true, keyId: 4, keySha256 })
    expect(warnings).toEqual([
      { name: 'M2PACK_MASTER_KEY_HEX' },
      { name: 'M2PACK_KEY_ID' },
      { name: 'm2pack_key_fd' },
      { name: 'M2PACK_KEY_MAP' },
    ])
    expect(env.M2PACK_MASTER_KEY_HEX).toBe('ab'.repeat(32))
  })

  it('a second child started at once sees none of it (row 100)', async () => {
    const first = start(deliveryNamed(name, patient))
    const second = spawn('/bin/sleep', ['3600'], { stdio: 'ignore' })
    const started = await first
    const third = spawn('/bin/sleep', ['3600'], { stdio: 'ignore' })
    await Promise.all([answerOf(started), second.pid === undefined && once(second, 'spawn')])
    for (const sibling of [second, third]) {
      const environ = readFileSync(`/proc/${sibling.pid}/environ`, 'latin1')
      for (const variable of names) expect(environ).not.toContain(variable)
      sibling.kill()
    }
  })

  it('a spawn that fails is RK_SPAWN and leaves nothing (row 102)', async () => {
    const notExecutable = join(folder, 'client')
    writeFileSync(notExecutable, 'no program', { mode: 0o644 })
    const before = mappings()
    const commands = [
      { file: join(folder, 'missing') },
      { file: notExecutable },
      { file: process.execPath, args: ['x'.repeat(3_000_000)] },
    ]
    const reasons = []
    for (const command of commands) {
      const attempt = deliveryNamed(name).deliver(makeKey(), command)
      reasons.push(
        await attempt.catch((error: { code: string; message: string; hint?: string; details: { reason: string } }) => {
          expect(error.message).toContain(`Cannot start the client "${command.file}"`)
          expect(error.hint === undefined).toBe(error.details.reason !== 'ENOENT')
          return `${error.code} ${error.details.reason}`
        }),
      )
    }
    expect(reasons).toEqual(['RK_SPAWN ENOENT', 'RK_SPAWN EACCES', 'RK_SPAWN E2BIG'])
    expect(mappings()).toEqual(before)
  })

  it('neither the client nor its own children keep a way to the key (row 108)', async () => {
    const answer = await answerOf(await start(deliveryNamed(name, patient)))
    expect(answer.variables).toEqual([])
    for (const variable of names) expect(answer.grandchild).not.toContain(variable)
    if (name === 'fd') {
      expect(answer.before.filter((line) => /^3 (socket|pipe):/.test(line))).toHaveLength(1)
      const pipe = answer.before.find((line) => line.startsWith('3 '))?.slice(2)
      expect(answer.after.filter((line) => line.endsWith(pipe ?? 'none'))).toEqual([])
      expect(answer.grandchild).not.toContain(pipe)
    }
  })

  it('no argument of any process holds the key (row 110)', async () => {
    const started = await start(deliveryNamed(name, patient))
    await answerOf(started)
    const commandLine = readFileSync(`/proc/${started.child.pid}/cmdline`, 'latin1')
    expect(commandLine).not.toContain(hexEncode(keyBytes()).slice(0, 16))
    expect(commandLine).not.toContain('runtime-key=')
  })
})

describe('envDelivery()', () => {
  it('rebuilds the values from bytes, so that nothing can be injected (row 103)', async () => {
    const started = await start(envDelivery(patient))
    await answerOf(started)
    const environ = readFileSync(`/proc/${started.child.pid}/environ`, 'latin1').split('\0')
    expect(environ).toContain(`M2PACK_MASTER_KEY_HEX=${hexEncode(keyBytes())}`)
    expect(environ).toContain(`M2PACK_SIGN_PUBKEY_HEX=${hexEncode(verifier)}`)
    expect(environ).toContain('M2PACK_KEY_ID=4')
  })
})

describe('fdDelivery()', () => {
  it('puts nothing but a number into the environment', async () => {
    const started = await start(fdDelivery(patient))
    await answerOf(started)
    const environ = readFileSync(`/proc/${started.child.pid}/environ`, 'latin1').split('\0')
    expect(environ.filter((entry) => entry.startsWith('M2PACK_'))).toEqual(['M2PACK_KEY_FD=3'])
  })

  it('a child that ends without reading is told from one that is late (row 101)', async () => {
    const early = await fdDelivery(patient).deliver(makeKey(), {
      file: '/bin/false',
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    expect(await rejectionOf(early.received)).toBe('RK_CHILD_GONE')
    const late = await fdDelivery({ timeoutMs: 150 }).deliver(makeKey(), {
      file: '/bin/sleep',
      args: ['3600'],
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    expect(await rejectionOf(late.received)).toBe('RK_DELIVERY_TIMEOUT')
    late.child.kill()
  })
})

describe('sharedMemoryDelivery()', () => {
  const lazy = { file: '/bin/sleep', args: ['3600'], stdio: ['ignore', 'ignore', 'ignore'] as const }

  it('makes the mapping 0600 and under a name nobody can guess, whatever the umask', async () => {
    const old = process.umask(0)
    try {
      const { child, received } = await sharedMemoryDelivery(patient).deliver(makeKey(), lazy)
      const [name = '', ...more] = mappings()
      expect(more).toEqual([])
      expect(name).toMatch(/^M2PackSharedKeys-\d+-\d+-[0-9a-f]{32}$/)
      expect(statSync(join(SHARED_MEMORY_FOLDER, name)).mode & 0o777).toBe(0o600)
      expect(readFileSync(`/proc/${child.pid}/environ`, 'latin1').split('\0')).toContain(`M2PACK_KEY_MAP=/${name}`)
      child.kill()
      expect(await rejectionOf(received)).toBe('RK_CHILD_GONE')
    } finally {
      process.umask(old)
    }
  })

  it('a name that is taken, by a file or a link, is RK_SHM_OCCUPIED and starts no child (row 104)', async () => {
    const random = (): Uint8Array<ArrayBuffer> => new Uint8Array(16)
    const probe = await posixSharedMemory({ folder, random }).create(writeRuntimeKeyBlob(makeKey()))
    let spawned = 0
    const delivery = sharedMemoryDelivery({
      folder,
      random,
      spawn: ((...args: Parameters<typeof spawn>) => {
        spawned += 1
        return spawn(...args)
      }) as typeof spawn,
    })
    expect(await rejectionOf(delivery.deliver(makeKey(), lazy))).toBe('RK_SHM_OCCUPIED')
    await probe.remove()
    const victim = join(folder, 'victim')
    writeFileSync(victim, 'untouched')
    symlinkSync(victim, join(folder, probe.name.slice(1)))
    expect(await rejectionOf(delivery.deliver(makeKey(), lazy))).toBe('RK_SHM_OCCUPIED')
    expect(readFileSync(victim, 'utf8')).toBe('untouched')
    expect(spawned).toBe(0)
  })

  it('what the child never reads is wiped and removed at the deadline (row 105)', async () => {
    const { child, received } = await sharedMemoryDelivery({ timeoutMs: 200, folder }).deliver(makeKey(), lazy)
    expect(readdirSync(folder)).toHaveLength(1)
    expect(await rejectionOf(received)).toBe('RK_DELIVERY_TIMEOUT')
    expect(readdirSync(folder)).toEqual([])
    child.kill()
  })

  it('a child that crashes leaves nothing, long before the deadline (row 101)', async () => {
    const { received } = await sharedMemoryDelivery({ folder, timeoutMs: 2_000_000 }).deliver(makeKey(), {
      file: '/bin/sh',
      args: ['-c', 'kill -SEGV $$'],
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    expect(await rejectionOf(received)).toBe('RK_CHILD_GONE')
    expect(readdirSync(folder)).toEqual([])
  })

  it('the next start removes what a killed launcher left, and nothing else (row 106)', async () => {
    const launcher = spawn(process.execPath, [program('launcher.ts'), folder], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [line] = (await once(launcher.stdout, 'data')) as [Buffer]
    expect(readdirSync(folder)).toHaveLength(1)
    expect(await sweepSharedMemory({ folder })).toBe(0)
    launcher.kill('SIGKILL')
    await once(launcher, 'exit')
    process.kill(Number(line.toString()))
    writeFileSync(join(folder, 'M2PackSharedKeys-other'), 'not ours')
    expect(readdirSync(folder)).toHaveLength(2)
    expect(await sweepSharedMemory({ folder })).toBe(1)
    expect(readdirSync(folder)).toEqual(['M2PackSharedKeys-other'])
  })

  it('a second reader finds nothing (row 107)', async () => {
    const memory = await posixSharedMemory({ folder, random: () => new Uint8Array(16) }).create(
      writeRuntimeKeyBlob(makeKey()),
    )
    const path = join(folder, memory.name.slice(1))
    const receive = (): number =>
      receiveRuntimeKey({ env: { M2PACK_KEY_MAP: memory.name }, argv: [], sharedMemoryFolder: folder }).keyId
    const watching = spawn(
      '/bin/sh',
      ['-c', 'exec 5<"$1"; echo; read -r line; head -c 84 <&5 | od -An -v -tx1', 'sh', path],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    )
    await once(watching.stdout, 'data')
    expect(receive()).toBe(4)
    watching.stdin.end('now\n')
    const seen = await text(watching.stdout)
    expect(seen.replaceAll(/\s/g, '')).toBe('00'.repeat(84))
    expect(codeOf(receive)).toBe('RK_DELIVERY_CORRUPT')
    expect(await memory.taken()).toBe(true)
    await memory.remove()
  })

  it('the receiver refuses a mapping that is cut, altered, open to others, a link, or no mapping of ours (row 109)', async () => {
    const name = `/M2PackSharedKeys-${process.pid}-1-${'0'.repeat(32)}`
    const path = join(folder, name.slice(1))
    const receive = (map = name): unknown =>
      receiveRuntimeKey({ env: { M2PACK_KEY_MAP: map }, argv: [], sharedMemoryFolder: folder })
    const blob = writeRuntimeKeyBlob(makeKey())
    const put = (bytes: Uint8Array, mode = 0o600): void => {
      rmSync(path, { force: true })
      writeFileSync(path, bytes)
      chmodSync(path, mode)
    }
    for (const bad of [
      blob.slice(0, 83),
      new Uint8Array(85),
      new Uint8Array(0),
      new Uint8Array(84),
      blob.map((byte, at) => (at === 3 ? 0 : byte)),
    ]) {
      put(bad)
      expect(codeOf(receive)).toBe('RK_DELIVERY_CORRUPT')
    }
    for (const mode of [0o666, 0o644, 0o660]) {
      put(blob, mode)
      expect(codeOf(receive)).toBe('RK_SHM_OCCUPIED')
    }
    rmSync(path, { force: true })
    symlinkSync(join(folder, 'elsewhere'), path)
    expect(codeOf(receive)).toBe('RK_SHM_OCCUPIED')
    for (const other of ['', '/etc/passwd', '../x', 'Local\\M2PackSharedKeys', `${name}/..`])
      expect(codeOf(() => receive(other))).toBe('RK_DELIVERY_CORRUPT')
  })

  it('answers RK_DELIVERY_UNSUPPORTED where there is no shared memory', async () => {
    expect(await rejectionOf(sharedMemoryDelivery({ folder: join(folder, 'none') }).deliver(makeKey(), lazy))).toBe(
      'RK_DELIVERY_UNSUPPORTED',
    )
  })

  it('overwrites the bytes before it removes the name', async () => {
    const memory = await posixSharedMemory({ folder, random: () => new Uint8Array(16) }).create(
      writeRuntimeKeyBlob(makeKey()),
    )
    const path = join(folder, memory.name.slice(1))
    const held = spawn('/bin/sh', ['-c', 'exec 5<"$1"; echo; read -r line; sha256sum <&5', 'sh', path], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    await once(held.stdout, 'data')
    await memory.remove()
    await memory.remove()
    held.stdin.end('now\n')
    expect(await text(held.stdout)).toContain(createHash('sha256').update(new Uint8Array(84)).digest('hex'))
  })
})

describe('receiveRuntimeKey()', () => {
  const masterHex = hexEncode(keyBytes('other'))
  const publicHex = hexEncode(verifier)

  it('takes mapping < environment < arguments, field by field', async () => {
    const memory = await posixSharedMemory({ folder, random: () => new Uint8Array(16) }).create(
      writeRuntimeKeyBlob(makeKey(4)),
    )
    const key = receiveRuntimeKey({
      env: { M2PACK_KEY_MAP: memory.name, M2PACK_MASTER_KEY_HEX: masterHex, M2PACK_KEY_ID: '5' },
      argv: ['--window', '--m2pack-key-id', '6', '--m2pack-pubkey-hex=' + publicHex],
      sharedMemoryFolder: folder,
    })
    expect([key.keyId, key.withBytes(hexEncode), key.signPublicKey]).toEqual([6, masterHex, verifier])
    await memory.remove()
  })

  it('removes the variables it read', () => {
    const env = {
      M2PACK_MASTER_KEY_HEX: masterHex,
      M2PACK_SIGN_PUBKEY_HEX: publicHex,
      M2PACK_KEY_ID: '5',
      PATH: '/bin',
    }
    receiveRuntimeKey({ env, argv: [] })
    expect(env).toEqual({ PATH: '/bin' })
  })

  it('works without a verifier, as clients embed theirs', () => {
    expect(
      receiveRuntimeKey({ env: { M2PACK_MASTER_KEY_HEX: masterHex, M2PACK_KEY_ID: '5' }, argv: [] }).signPublicKey,
    ).toBeUndefined()
  })

  it('RK_MISSING when nothing, or not enough, was delivered (row 94)', () => {
    expect(codeOf(() => receiveRuntimeKey({ env: {}, argv: [] }))).toBe('RK_MISSING')
    expect(codeOf(() => receiveRuntimeKey({ env: { M2PACK_MASTER_KEY_HEX: masterHex }, argv: [] }))).toBe('RK_MISSING')
    expect(codeOf(() => receiveRuntimeKey({ env: { M2PACK_KEY_ID: '1' }, argv: [] }))).toBe('RK_MISSING')
    expect(codeOf(() => receiveRuntimeKey({ env: {}, argv: ['--m2pack-key-hex'] }))).toBe('RK_MISSING')
  })

  it('refuses bad values in the environment (row 95)', () => {
    for (const bad of [masterHex.toUpperCase(), `${masterHex}\n`, masterHex.slice(1), `0x${masterHex}`]) {
      expect(
        codeOf(() => receiveRuntimeKey({ env: { M2PACK_MASTER_KEY_HEX: bad, M2PACK_KEY_ID: '1' }, argv: [] })),
      ).toBe('RK_ENCODING')
    }
    expect(
      codeOf(() => receiveRuntimeKey({ env: { M2PACK_MASTER_KEY_HEX: masterHex, M2PACK_KEY_ID: '01' }, argv: [] })),
    ).toBe('RK_KEY_ID')
    for (const fd of ['0', '2', '-1', '3x', '', '999999']) {
      expect(codeOf(() => receiveRuntimeKey({ env: { M2PACK_KEY_FD: fd }, argv: [] }))).toBe('RK_DELIVERY_CORRUPT')
    }
  })
})
