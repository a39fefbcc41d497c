import { describe } from 'vitest'
import { namesLeftOutArguments } from '../../../tooling/vitest/left-out-arguments.ts'
import type { LeftOut } from '../../../tooling/vitest/left-out-arguments.ts'
import { diffManifests, parseHead, parseManifest, parseRoles, parseTrustRoot } from '../src/index.ts'
import { initialTrustState, parseTrustState, verifyDownload, verifyRelease } from '../src/index.ts'
import { buildManifest, publishFiles, rotatePublication, signHead, signManifest } from '../src/publish/index.ts'
import { startPublication, writeHead, writeManifest, writeRoles } from '../src/publish/index.ts'

const bytes = new Uint8Array(32)
const options = { channel: 'stable', nowMs: 0 }
const state = initialTrustState(parseTrustRoot(`did:keri:${'E'.repeat(44)}`))

const rows: readonly LeftOut[] = [
  ['verifyRelease()', 'input', (nothing) => verifyRelease(nothing, state, options)],
  ['verifyRelease()', 'state', (nothing) => verifyRelease({}, nothing, options)],
  ['verifyRelease()', 'options', (nothing) => verifyRelease({}, state, nothing)],
  ['parseTrustRoot()', 'text', (nothing) => parseTrustRoot(nothing)],
  ['parseTrustState()', 'bytes', (nothing) => parseTrustState(nothing)],
  ['parseManifest()', 'bytes', (nothing) => parseManifest(nothing)],
  ['parseHead()', 'bytes', (nothing) => parseHead(nothing)],
  ['parseRoles()', 'bytes', (nothing) => parseRoles(nothing)],
  ['diffManifests()', 'before', (nothing) => diffManifests(nothing, nothing)],
  ['buildManifest()', 'entries', (nothing) => buildManifest(nothing, nothing)],
  ['buildManifest()', 'options', (nothing) => buildManifest([], nothing)],
  ['writeManifest()', 'manifest', (nothing) => writeManifest(nothing)],
  ['writeHead()', 'head', (nothing) => writeHead(nothing)],
  ['writeRoles()', 'document', (nothing) => writeRoles(nothing)],
  ['signHead()', 'payload', (nothing) => signHead(nothing, [])],
  ['signManifest()', 'manifest', (nothing) => signManifest(nothing, [])],
  ['signManifest()', 'signers', (nothing) => signManifest(bytes, nothing)],
  ['startPublication()', 'keys', (nothing) => startPublication('x', nothing)],
  ['rotatePublication()', 'state', (nothing) => rotatePublication(nothing, nothing)],
  ['publishFiles()', 'files', (nothing) => publishFiles(nothing, nothing, bytes, {})],
  ['publishFiles()', 'keys', (nothing) => publishFiles([], nothing, bytes, {})],
  ['verifyDownload()', 'release', (nothing) => verifyDownload(nothing, '', undefined)],
  ['verifyDownload()', 'pin', (nothing) => verifyDownload(bytes, nothing, undefined)],
]

describe('arguments that are left out', () => {
  namesLeftOutArguments(rows)
})
