/** Signed downloads beside tuf-js and minisign: one file of 1 MB. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seedSigner } from '@keyturn/kel/owner'
import { verifyDownload } from '@keyturn/manifest'
import { publishFiles, startPublication } from '@keyturn/manifest/publish'
import { ed25519PublicKey, ed25519Sign, hexEncode, sha256, systemRandom, utf8Encode } from '@keyturn/primitives'
import { asBytes, cpuRow, hasProgram, peer, program, row } from './measure.mjs'

const [OURS, TUF, MINISIGN] = ['manifest', 'tuf-js', 'minisign']
const folder = mkdtempSync(join(tmpdir(), 'keyturn-compare-'))
const file = systemRandom(1_000_000)
const newKey = () => {
  const seed = systemRandom(32)
  return { publicKey: ed25519PublicKey(seed), sign: (message) => ed25519Sign(seed, message) }
}

const keys = { release: newKey(), head: newKey() }
const identity = seedSigner([systemRandom(32)])
const nextIdentity = seedSigner([systemRandom(32)]).publicKeys
const { pin, state } = await startPublication('tool', { ...keys, identity, nextIdentity })
const files = [{ path: 'tool.tgz', bytes: file }]
const published = await publishFiles(files, keys, state, { version: '1.2.3' })

const minisign = hasProgram('minisign')
if (minisign) {
  writeFileSync(join(folder, 'tool.tgz'), file)
  program(['minisign', '-G', '-W', '-p', 'key.pub', '-s', 'key.sec'], { cwd: folder })
}
const sign = () => program(['minisign', '-S', '-W', '-s', 'key.sec', '-m', 'tool.tgz'], { cwd: folder })
if (minisign) sign()
const tuf = await tufRepository()

await cpuRow(
  'sign a release of one file of 1 MB',
  {
    [OURS]: async () => void (await publishFiles(files, keys, state, { version: '1.2.3' })),
    [TUF]: tuf?.sign,
    [MINISIGN]: minisign ? sign : undefined,
  },
  { times: 5 },
)
await cpuRow(
  'verify it the first time, from a pin, a root or a key',
  {
    [OURS]: () => void verifyDownload(published.release, pin, undefined).requireFile('tool.tgz', file),
    [TUF]: tuf?.verify,
    [MINISIGN]: minisign
      ? () => program(['minisign', '-V', '-q', '-p', 'key.pub', '-m', 'tool.tgz'], { cwd: folder })
      : undefined,
  },
  { times: 10 },
)
row('bytes to fetch besides the file', {
  [OURS]: asBytes(published.release.length),
  ...(tuf && { [TUF]: asBytes(tuf.bytes) }),
  ...(minisign && { [MINISIGN]: asBytes((await import('node:fs')).statSync(join(folder, 'tool.tgz.minisig')).size) }),
})
rmSync(folder, { recursive: true })

/** A repository in memory, and a client that keeps its metadata in a folder, as it always does. */
async function tufRepository() {
  const [client, models] = [await peer('tuf-js'), await peer('@tufjs/models')]
  if (client === undefined || models === undefined) return undefined
  const { Metadata, MetadataKind, Signature } = models
  const { DownloadHTTPError } = await import('tuf-js/dist/error.js')
  const [root, online] = [newKey(), newKey()]
  const idOf = ({ publicKey }) => hexEncode(publicKey)
  const signed = (kind, members, signers) => {
    const document = {
      signed: { _type: kind, spec_version: '1.0.31', expires: '2099-01-01T00:00:00Z', ...members },
      signatures: [],
    }
    const metadata = Metadata.fromJSON(kind, document)
    for (const key of signers)
      metadata.sign((data) => new Signature({ keyID: idOf(key), sig: hexEncode(key.sign(data)) }), true)
    return utf8Encode(JSON.stringify(metadata.toJSON()))
  }
  const key = (pair) => ({ keytype: 'ed25519', scheme: 'ed25519', keyval: { public: idOf(pair) } })
  const role = (pair) => ({ keyids: [idOf(pair)], threshold: 1 })
  const first = signed(
    MetadataKind.Root,
    {
      version: 1,
      consistent_snapshot: false,
      keys: { [idOf(root)]: key(root), [idOf(online)]: key(online) },
      roles: { root: role(root), targets: role(online), timestamp: role(online), snapshot: role(online) },
    },
    [root],
  )
  const release = () => {
    const target = { length: file.length, hashes: { sha256: hexEncode(sha256(file)) } }
    const targets = signed(MetadataKind.Targets, { version: 1, targets: { 'tool.tgz': target } }, [online])
    const snapshot = signed(MetadataKind.Snapshot, { version: 1, meta: { 'targets.json': { version: 1 } } }, [online])
    const timestamp = signed(MetadataKind.Timestamp, { version: 1, meta: { 'snapshot.json': { version: 1 } } }, [
      online,
    ])
    return { 'targets.json': targets, 'snapshot.json': snapshot, 'timestamp.json': timestamp }
  }
  const served = { ...release(), 'tool.tgz': file }
  class Fetcher extends client.BaseFetcher {
    async fetch(url) {
      const bytes = served[url.slice('http://tuf.example/'.length)]
      if (bytes === undefined) throw new DownloadHTTPError(`404 ${url}`, 404)
      return new Blob([bytes]).stream()
    }
  }
  let count = 0
  return {
    bytes: Object.values(release()).reduce((sum, bytes) => sum + bytes.length, first.length),
    sign: () => void release(),
    verify: async () => {
      const place = mkdtempSync(join(folder, `tuf-${(count += 1)}-`))
      writeFileSync(join(place, 'root.json'), first)
      const base = 'http://tuf.example'
      const options = { metadataDir: place, metadataBaseUrl: base, targetDir: place, targetBaseUrl: base }
      const updater = new client.Updater({ ...options, fetcher: new Fetcher() })
      await updater.refresh()
      const target = await updater.getTargetInfo('tool.tgz')
      await updater.downloadTarget(target)
      rmSync(place, { recursive: true })
    },
  }
}
