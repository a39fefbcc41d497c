import { utf8Encode } from '@keyturn/primitives'
import {
  addSignatures,
  appendEntries,
  formatNote,
  formatProof,
  formatVerifierKey,
  formatWitnessRequest,
  hashLeaf,
  LogWitness,
  memoryWitnessStore,
  parseNote,
  parsePolicy,
  proveInclusion,
  seedNoteSigner,
  signCheckpoint,
  tilePath,
  verifyProof,
} from '@keyturn/tlog'

// A log: two entries, their tiles, a signed checkpoint.
const log = seedNoteSigner('log.example/releases', 'note', crypto.getRandomValues(new Uint8Array(32)))
const entries = ['release 1', 'release 2'].map((text) => utf8Encode(text))
const files = new Map<string, Uint8Array>()
const source = {
  read: (tile: Parameters<typeof tilePath>[0]) => Promise.resolve(files.get(tilePath(tile)) as Uint8Array),
}
const tree = await appendEntries(source, 0, entries)
for (const tile of tree.tiles) files.set(tilePath(tile), tile.bytes)
const checkpoint = await signCheckpoint(tree, log)

// A witness: it signs what contains all that it has signed before.
const key = seedNoteSigner('witness.example/w1', 'cosignature', crypto.getRandomValues(new Uint8Array(32)))
const witness = new LogWitness(key, [{ origin: log.key.name, keys: [log.key] }], memoryWitnessStore())
const cosignature = await witness.add(formatWitnessRequest({ oldSize: 0, hashes: [], checkpoint }))

// A proof that entry 1 is in the log, for use without a network.
const proof = formatProof({
  index: 1,
  hashes: await proveInclusion(source, 1, tree.size),
  checkpoint: formatNote(addSignatures(parseNote(checkpoint), [cosignature])),
  extra: undefined,
})

// A reader: it knows the entry and a policy, and nothing else.
const policy = parsePolicy(
  utf8Encode(`log ${formatVerifierKey(log.key)}\nwitness w1 ${formatVerifierKey(witness.key)}\nquorum w1\n`),
)
const { index, size, witnesses } = verifyProof(proof, hashLeaf(utf8Encode('release 2')), policy)
console.log(`entry ${index} of ${size}, confirmed by ${witnesses.map(({ name }) => name).join(', ')}`)
