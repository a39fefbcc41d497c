import { describe } from 'vitest'
import { namesLeftOutArguments } from '../../../tooling/vitest/left-out-arguments.ts'
import type { LeftOut } from '../../../tooling/vitest/left-out-arguments.ts'
import {
  blobSource,
  buildArchive,
  checkPath,
  checkPublicKey,
  deriveFirstSlot,
  diffTrees,
  exportClientConfig,
  foldName,
  foldPath,
  holdsManifestOnly,
  inspectRaw,
  keyCommitment,
  logicalPath,
  MemorySink,
  memorySource,
  openArchive,
  PathCollisions,
  readArchiveHeader,
  rewrapArchive,
  segmentOffsets,
} from '../src/index.ts'
import { openEterPack, openPck } from '../src/legacy/index.ts'
import {
  buildFolder,
  diffPaths,
  extractArchive,
  generateKeyFiles,
  openArchiveFile,
  openFileSource,
  readContentKeyFile,
  readPublicKeyFile,
  readSigningKeyFile,
  readSlotsFile,
  rewrapFile,
  SafeFolder,
  verifyArchiveFile,
  walkFolder,
  withArchiveFile,
  writeSlots,
} from '../src/node/index.ts'
import { archiveResponse, archiveStream, httpSource } from '../src/web/index.ts'
import { contentKey, publicKey, seed } from './support/craft.ts'

const sink = new MemorySink()
const file = { path: 'a', source: memorySource(new Uint8Array(1)) }
await buildArchive([file], sink, { contentKey, signingSeed: seed })
const source = memorySource(sink.bytes())
const verifiers = new Map([[contentKey.keyId, publicKey]])
const archive = await openArchive(source, { verifiers, contentKey })
const keys = { contentKey, signingSeed: seed }
const request = new Request('http://x/a')

const core: readonly LeftOut[] = [
  ['openArchive()', 'source', (nothing) => openArchive(nothing, { verifiers })],
  ['openArchive()', 'options', (nothing) => openArchive(source, nothing)],
  ['openArchive()', 'verifiers', (nothing) => openArchive(source, { verifiers: nothing })],
  ['readArchiveHeader()', 'source', (nothing) => readArchiveHeader(nothing)],
  ['holdsManifestOnly()', 'source', (nothing) => holdsManifestOnly(nothing)],
  ['buildArchive()', 'files', (nothing) => buildArchive(nothing, sink, keys)],
  ['buildArchive()', 'sink', (nothing) => buildArchive([file], nothing, keys)],
  ['buildArchive()', 'options', (nothing) => buildArchive([file], sink, nothing)],
  ['buildArchive()', 'contentKey', (nothing) => buildArchive([file], sink, { ...keys, contentKey: nothing })],
  ['buildArchive()', 'signingSeed', (nothing) => buildArchive([file], sink, { ...keys, signingSeed: nothing })],
  ['rewrapArchive()', 'archive', (nothing) => rewrapArchive(nothing, sink, keys)],
  ['rewrapArchive()', 'sink', (nothing) => rewrapArchive(archive, nothing, keys)],
  ['rewrapArchive()', 'options', (nothing) => rewrapArchive(archive, sink, nothing)],
  ['rewrapArchive()', 'contentKey', (nothing) => rewrapArchive(archive, sink, { ...keys, contentKey: nothing })],
  ['rewrapArchive()', 'signingSeed', (nothing) => rewrapArchive(archive, sink, { ...keys, signingSeed: nothing })],
  ['archive.read()', 'path', (nothing) => archive.read(nothing)],
  ['archive.stream()', 'path', (nothing) => archive.stream(nothing).next()],
  ['archive.entry()', 'path', (nothing) => archive.entry(nothing)],
  ['archive.find()', 'path', (nothing) => archive.find(nothing)],
  ['exportClientConfig()', 'verifiers', (nothing) => exportClientConfig(nothing)],
  ['diffTrees()', 'left', (nothing) => diffTrees(nothing, [])],
  ['diffTrees()', 'right', (nothing) => diffTrees([], nothing)],
  ['foldName()', 'name', (nothing) => foldName(nothing)],
  ['foldPath()', 'path', (nothing) => foldPath(nothing)],
  ['logicalPath()', 'path', (nothing) => logicalPath(nothing)],
  ['checkPath()', 'path', (nothing) => checkPath(nothing)],
  ['PathCollisions.add()', 'path', (nothing) => new PathCollisions().add(nothing)],
  ['inspectRaw()', 'source', (nothing) => inspectRaw(nothing)],
  ['segmentOffsets()', 'entry', (nothing) => segmentOffsets(nothing)],
  ['deriveFirstSlot()', 'contentKey', (nothing) => deriveFirstSlot(nothing)],
  ['keyCommitment()', 'contentKey', (nothing) => keyCommitment(nothing)],
  ['blobSource()', 'blob', (nothing) => blobSource(nothing)],
  ['memorySource()', 'bytes', (nothing) => memorySource(nothing)],
  ['MemorySink.write()', 'bytes', (nothing) => new MemorySink().write(nothing, 0)],
  ['checkPublicKey()', 'publicKey', (nothing) => checkPublicKey(nothing)],
]

const web: readonly LeftOut[] = [
  ['httpSource()', 'url', (nothing) => httpSource(nothing)],
  ['archiveStream()', 'archive', (nothing) => archiveStream(nothing, 'a')],
  ['archiveStream()', 'path', (nothing) => archiveStream(archive, nothing)],
  ['archiveResponse()', 'archive', (nothing) => archiveResponse(nothing, request)],
  ['archiveResponse()', 'request', (nothing) => archiveResponse(archive, nothing)],
]

const legacy: readonly LeftOut[] = [
  ['openPck()', 'source', (nothing) => openPck(nothing)],
  ['openEterPack()', 'index', (nothing) => openEterPack(nothing, source)],
  ['openEterPack()', 'contents', (nothing) => openEterPack(new Uint8Array(1), nothing)],
]

const at = '/nowhere/a.m2p'
const onFiles: readonly LeftOut[] = [
  ['openFileSource()', 'path', (nothing) => openFileSource(nothing)],
  ['openArchiveFile()', 'path', (nothing) => openArchiveFile(nothing, { verifiers })],
  ['openArchiveFile()', 'options', (nothing) => openArchiveFile(at, nothing)],
  ['withArchiveFile()', 'path', (nothing) => withArchiveFile(nothing, { verifiers }, () => 1)],
  ['withArchiveFile()', 'options', (nothing) => withArchiveFile(at, nothing, () => 1)],
  ['withArchiveFile()', 'use', (nothing) => withArchiveFile(at, { verifiers }, nothing)],
  ['rewrapFile()', 'input', (nothing) => rewrapFile(nothing, at, { ...keys, open: { verifiers } })],
  ['rewrapFile()', 'output', (nothing) => rewrapFile(at, nothing, { ...keys, open: { verifiers } })],
  ['rewrapFile()', 'options', (nothing) => rewrapFile(at, at, nothing)],
  ['rewrapFile()', 'open', (nothing) => rewrapFile(at, at, { ...keys, open: nothing })],
  ['verifyArchiveFile()', 'path', (nothing) => verifyArchiveFile(nothing, { verifiers })],
  ['verifyArchiveFile()', 'options', (nothing) => verifyArchiveFile(at, nothing)],
  ['buildFolder()', 'input', (nothing) => buildFolder(nothing, at, keys)],
  ['buildFolder()', 'output', (nothing) => buildFolder('/nowhere', nothing, keys)],
  ['buildFolder()', 'options', (nothing) => buildFolder('/nowhere', at, nothing)],
  ['extractArchive()', 'path', (nothing) => extractArchive(nothing, at, { verifiers, contentKey })],
  ['extractArchive()', 'target', (nothing) => extractArchive(at, nothing, { verifiers, contentKey })],
  ['extractArchive()', 'options', (nothing) => extractArchive(at, at, nothing)],
  ['diffPaths()', 'left', (nothing) => diffPaths(nothing, at)],
  ['diffPaths()', 'right', (nothing) => diffPaths(at, nothing)],
  ['walkFolder()', 'root', (nothing) => walkFolder(nothing)],
  ['generateKeyFiles()', 'folder', (nothing) => generateKeyFiles(nothing)],
  ['readContentKeyFile()', 'path', (nothing) => readContentKeyFile(nothing)],
  ['readSigningKeyFile()', 'path', (nothing) => readSigningKeyFile(nothing)],
  ['readPublicKeyFile()', 'path', (nothing) => readPublicKeyFile(nothing)],
  ['readSlotsFile()', 'path', (nothing) => readSlotsFile(nothing)],
  ['writeSlots()', 'slots', (nothing) => writeSlots(nothing)],
  ['SafeFolder', 'root', (nothing) => new SafeFolder(nothing)],
]

describe('arguments that are left out', () => {
  namesLeftOutArguments([...core, ...web, ...legacy, ...onFiles])
})
