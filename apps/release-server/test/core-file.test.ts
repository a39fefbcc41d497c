import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createTransportIdentity } from '@keyturn/noise-keys'
import {
  addKey,
  deriveX25519Static,
  draftPublication,
  emptyMetadata,
  publish,
  signPublication,
} from '@keyturn/noise-keys/owner'
import { askOnce } from '@keyturn/noise-keys/noise'
import {
  EXCHANGE_PROTOCOLS,
  exchangePrologue,
  openKeyAnswer,
  RuntimeKey,
  serverKeyHint,
  writeExchangeHeader,
  writeKeyRequest,
  writeRuntimeKeyBlob,
} from '@keyturn/runtime-key'
import {
  concatBytes,
  ed25519PublicKey,
  hexDecode,
  hexEncode,
  systemRandom,
  utf8Encode,
  x25519PublicKey,
} from '@keyturn/primitives'
import { expect, it } from 'vitest'
import { ReleaseServerClient } from '@keyturn/release-client'
import { createTokenByCommand, runServer } from './processes.ts'
import { seedOf, TestPublisher } from './publisher.ts'
import { someBytes, temporaryFolder } from './support.ts'

const run = promisify(execFile)
const gdb = ['/usr/bin/gdb'].find((path) => existsSync(path))

/** How often any of the needles is in a file, read in windows that overlap. */
async function countIn(path: string, needles: readonly Buffer[]): Promise<number> {
  const overlap = Math.max(...needles.map(({ length }) => length)) - 1
  const handle = await open(path, 'r')
  const window = Buffer.alloc(8 * 1024 * 1024)
  let count = 0
  try {
    for (let position = 0; ;) {
      const { bytesRead } = await handle.read(window, 0, window.length, position)
      const seen = window.subarray(0, bytesRead)
      const last = bytesRead < window.length
      for (const needle of needles) {
        for (
          let at = seen.indexOf(needle);
          at !== -1 && (last || at < bytesRead - overlap);
          at = seen.indexOf(needle, at + 1)
        )
          count += 1
      }
      if (last) return count
      position += bytesRead - overlap
    }
  } finally {
    await handle.close()
  }
}

const formsOf = (secret: Uint8Array): Buffer[] => [
  Buffer.from(secret),
  ...(['hex', 'base64', 'base64url'] as const).map((form) => Buffer.from(Buffer.from(secret).toString(form))),
]

it(
  'a core file of the server holds no runtime key, no transport key and no passphrase, nor do its logs',
  { timeout: 600_000 },
  async (context) => {
    const folder = await temporaryFolder()
    const passphrase = `a long passphrase ${hexEncode(someBytes(8))}`
    await writeFile(join(folder, 'passphrase'), `${passphrase}\n`)
    const environment = {
      KEYTURN_DATA_DIR: join(folder, 'data'),
      KEYTURN_PASSPHRASE_FILE: join(folder, 'passphrase'),
      KEYTURN_LOG_REQUESTS: 'true',
    }
    const token = await createTokenByCommand(environment)
    const server = await runServer(environment)
    let log = ''
    server.child.stderr?.on('data', (part) => {
      log += String(part)
    })
    try {
      const client = new ReleaseServerClient(server.url, { token })
      const identity = createTransportIdentity(systemRandom)
      const publisher = await TestPublisher.create({ transport: [identity.name] })
      await publisher.introduce(client)
      const key = someBytes(32)
      const verifier = ed25519PublicKey(seedOf('verifier'))
      const release = await publisher.release(
        { 'a.txt': utf8Encode('a') },
        {
          contentKeys: [{ keyId: 4, verifierPub: hexEncode(verifier), commitment: 'bb'.repeat(32), status: 'active' }],
        },
      )
      await publisher.publish(client, release)
      await client.putRuntimeKey(
        'metin2',
        4,
        writeRuntimeKeyBlob(RuntimeKey.take({ keyId: 4, masterKey: key.slice(), signPublicKey: verifier })),
      )
      const secret = deriveX25519Static(identity.seed, 'server')
      const transport = secret.slice()
      const publicKey = x25519PublicKey(secret)
      const nowS = Math.floor(Date.now() / 1000)
      await client.putTransportKey(identity.name, 'server', secret)
      await publish(
        client.keyDirectory(),
        signPublication(
          identity.seed,
          draftPublication(
            addKey(emptyMetadata(identity.name), { device: 'server', publicKey, generation: 'G2' }, nowS, nowS),
            nowS,
          ),
        ),
      )
      for (let round = 0; round < 3; round++) {
        const header = writeExchangeHeader({ pattern: 'NK', serverKeyHint: serverKeyHint(publicKey) })
        const question = askOnce(
          EXCHANGE_PROTOCOLS.NK,
          { prologue: exchangePrologue(header), remoteStatic: publicKey },
          writeKeyRequest({ keyId: 4, manifestSha256: hexDecode(release.pin.sha256) }),
        )
        const answer = await fetch(`${server.url}/noise/runtime-key`, {
          method: 'POST',
          headers: { 'content-type': 'application/octet-stream' },
          body: concatBytes(header, question.message) as Uint8Array<ArrayBuffer>,
        })
        openKeyAnswer(question.readAnswer(new Uint8Array(await answer.arrayBuffer())), 4).withBytes((bytes) =>
          expect(hexEncode(bytes)).toBe(hexEncode(key)),
        )
      }
      const needles = [...formsOf(key), ...formsOf(transport), Buffer.from(passphrase)]
      for (const needle of needles.slice(1)) expect(log.includes(needle.toString('latin1'))).toBe(false)
      expect(log).toContain('"route":"/noise/runtime-key"')
      const { pid } = server.child
      if (process.platform !== 'linux') {
        console.info('Core files are looked at on Linux only')
        return context.skip()
      }
      expect((await readFile(`/proc/${pid}/coredump_filter`, 'utf8')).trim()).toBe('00000000')
      expect(await readFile(`/proc/${pid}/limits`, 'utf8')).toMatch(/Max core file size\s+0\s+0/)
      const core = join(folder, 'core')
      if (gdb !== undefined)
        await run(gdb, ['-batch', '-nx', '-ex', `gcore ${core}`, '-p', String(pid)], { timeout: 120_000 }).catch(
          () => undefined,
        )
      if (!existsSync(core)) {
        console.info('No core file could be made here: gdb is not installed or may not look at other processes')
        return context.skip()
      }
      expect(await countIn(core, needles)).toBe(0)
      // The scanner finds what is there.
      await writeFile(join(folder, 'control'), Buffer.concat([Buffer.alloc(9 * 1024 * 1024), ...needles]))
      expect(await countIn(join(folder, 'control'), needles)).toBeGreaterThanOrEqual(needles.length)
    } finally {
      await server.stop()
    }
  },
)
