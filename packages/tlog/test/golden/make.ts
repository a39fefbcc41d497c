/** Writes the golden files of format version 1, and prints what docs/spec/tlog.md shows of them: `node test/golden/make.ts`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { base64Encode, hexEncode, utf8Decode, utf8Encode } from '@keyturn/primitives'
import {
  addSignatures,
  formatNote,
  formatProof,
  formatVerifierKey,
  formatWitnessRequest,
  hashLeaf,
  parseNote,
  proveConsistency,
  proveInclusion,
  seedNoteSigner,
  signText,
  tilePath,
} from '../../src/index.ts'
import { entry, MemoryLog } from '../support/memory-log.ts'

const folder = new URL('1/', import.meta.url)
const write = (name: string, bytes: Uint8Array): void => {
  mkdirSync(new URL(name.replace(/[^/]*$/, ''), folder), { recursive: true })
  writeFileSync(new URL(name, folder), bytes)
}

const log = new MemoryLog()
const witness = seedNoteSigner('witness.example/w1', 'cosignature', new Uint8Array(32).fill(2))
await log.append([entry(0), entry(1)])
const bare = await log.append([entry(2)])
const note = parseNote(bare)
const checkpoint = formatNote(addSignatures(note, [await signText(note.text, witness, 1_800_000_000)]))
const hashes = await proveInclusion(log, 1, 3)

write('checkpoint', checkpoint)
write('example.tlog-proof', formatProof({ index: 1, hashes, checkpoint, extra: undefined }))
write('add-checkpoint', formatWitnessRequest({ oldSize: 2, hashes: await proveConsistency(log, 2, 3), checkpoint: bare }))
const policy = `log ${formatVerifierKey(log.signer.key)} https://log.example/one\nwitness w1 ${formatVerifierKey(witness.key)}\nquorum w1\n`
write('policy', utf8Encode(policy))
for (const tile of ['entries', 0] as const) {
  const path = tilePath({ level: tile, index: 0, width: 3 })
  write(path.replace('tile/', 'tile/'), log.files.get(path) as Uint8Array)
  console.log(path, hexEncode(log.files.get(path) as Uint8Array))
}
for (const n of [0, 1, 2]) console.log(`leaf ${n}`, hexEncode(hashLeaf(entry(n))))
console.log('root', hexEncode(log.root), base64Encode(log.root))
console.log(`key ids ${hexEncode(log.signer.key.keyId)} ${hexEncode(witness.key.keyId)}`)
console.log(utf8Decode(formatProof({ index: 1, hashes, checkpoint, extra: undefined })))
console.log(policy)
