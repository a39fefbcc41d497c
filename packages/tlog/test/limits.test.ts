import { expect, it } from 'vitest'
import { utf8Encode } from '@keyturn/primitives'
import { formatEntries, parseEntries } from '../src/entries.ts'
import {
  addSignatures,
  appendEntries,
  checkCheckpoint,
  formatCheckpoint,
  formatNote,
  formatVerifierKey,
  formatProof,
  Frontier,
  hashLeaf,
  httpTileSource,
  parsePolicy,
  parseProof,
  seedNoteSigner,
  signText,
  verifyInclusion,
} from '../src/index.ts'
import type { NoteSigner } from '../src/index.ts'
import { MAX_ENTRY_BYTES, MAX_PROOF_HASHES, MAX_TREE_SIZE, TILE_WIDTH } from '../src/limits.ts'

it('parseProof() reads 63 hashes and refuses 64', () => {
  const proofOf = (count: number): Uint8Array =>
    formatProof({
      index: 0,
      hashes: Array.from({ length: count }, () => new Uint8Array(32).fill(1)),
      checkpoint: utf8Encode('log.example/one\n1\n'),
      extra: undefined,
    })
  expect(parseProof(proofOf(MAX_PROOF_HASHES)).hashes).toHaveLength(MAX_PROOF_HASHES)
  expect(() => parseProof(proofOf(MAX_PROOF_HASHES + 1))).toThrow(expect.objectContaining({ code: 'TLOG_LIMIT' }))
})

it('formatEntries() writes an entry of 65,535 bytes and refuses one more', () => {
  const largest = new Uint8Array(MAX_ENTRY_BYTES).fill(7)
  expect(parseEntries({ level: 'entries', index: 0, width: 1 }, formatEntries([largest]))).toEqual([largest])
  expect(() => formatEntries([new Uint8Array(MAX_ENTRY_BYTES + 1)])).toThrow(
    expect.objectContaining({ code: 'TLOG_LIMIT' }),
  )
})

it('appendEntries() refuses a tree of more leaves than a double can count, and reads nothing', async () => {
  const source = { read: () => Promise.reject(new Error('was read')) }
  await expect(appendEntries(source, MAX_TREE_SIZE, [utf8Encode('one')])).rejects.toMatchObject({ code: 'TLOG_LIMIT' })
})

it('httpTileSource() asks once for a full tile that is not there, and for the full one after a partial one', async () => {
  const asked: string[] = []
  const fetch = (url: string | URL | Request): Promise<Response> => {
    asked.push(String(url))
    return Promise.resolve(new Response('', { status: 404 }))
  }
  const source = httpTileSource('https://log.example/log/', { fetch })
  await expect(source.read({ level: 0, index: 0, width: TILE_WIDTH })).rejects.toMatchObject({
    code: 'TLOG_UNAVAILABLE',
  })
  expect(asked).toEqual(['https://log.example/log/tile/0/000'])
  await expect(source.read({ level: 0, index: 0, width: 3 })).rejects.toMatchObject({ code: 'TLOG_UNAVAILABLE' })
  expect(asked.slice(1)).toEqual(['https://log.example/log/tile/0/000.p/3', 'https://log.example/log/tile/0/000'])
})

it('verifyInclusion() refuses an entry after the last one, even where the root is the hash of that entry', () => {
  const leafHash = hashLeaf(utf8Encode('one'))
  expect(() => verifyInclusion({ leafHash, index: 0, size: 1, root: leafHash }, [])).not.toThrow()
  expect(() => verifyInclusion({ leafHash, index: 1, size: 1, root: leafHash }, [])).toThrow(
    expect.objectContaining({ code: 'TLOG_INCLUSION' }),
  )
})

it('Frontier refuses a state with hashes of another length', () => {
  expect(new Frontier({ size: 1, hashes: [new Uint8Array(32)] }).size).toBe(1)
  expect(() => new Frontier({ size: 1, hashes: [new Uint8Array(31)] })).toThrow(
    expect.objectContaining({ code: 'TLOG_TILE' }),
  )
})

it('addSignatures() replaces lines of the same key, and keeps one of another name with the same key id', () => {
  const line = (name: string, byte: number) => ({
    name,
    keyId: new Uint8Array(4).fill(9),
    signature: new Uint8Array(64).fill(byte),
  })
  const note = { text: 'log.example/one\n1\n', signatures: [line('one', 1), line('two', 2)] }
  expect(addSignatures(note, [line('two', 3)]).signatures).toEqual([line('one', 1), line('two', 3)])
})

it('checkCheckpoint() refuses a checkpoint of one log that the key of another log of the policy signed', async () => {
  const [one, two] = ['log.example/one', 'log.example/two'].map((name, at) =>
    seedNoteSigner(name, 'note', new Uint8Array(32).fill(at + 1)),
  ) as [NoteSigner, NoteSigner]
  const policy = parsePolicy(
    utf8Encode(`log ${formatVerifierKey(one.key)}\nlog ${formatVerifierKey(two.key)}\nquorum none\n`),
  )
  const text = formatCheckpoint({ origin: one.key.name, size: 1, root: new Uint8Array(32).fill(5), extensions: [] })
  const signedBy = async (signer: NoteSigner): Promise<Uint8Array> =>
    formatNote({ text, signatures: [await signText(text, signer)] })
  expect(checkCheckpoint(await signedBy(one), policy).size).toBe(1)
  const other = await signedBy(two)
  expect(() => checkCheckpoint(other, policy)).toThrow(expect.objectContaining({ code: 'TLOG_SIGNATURE' }))
})
