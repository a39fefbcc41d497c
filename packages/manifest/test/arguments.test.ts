import { describe, expect, it } from 'vitest'
import { diffManifests, parseHead, parseManifest, parseRoles, parseTrustRoot } from '../src/index.ts'
import { initialTrustState, parseTrustState, verifyDownload, verifyRelease } from '../src/index.ts'
import { buildManifest, publishFiles, rotatePublication, signHead, signManifest } from '../src/publish/index.ts'
import { startPublication, writeHead, writeManifest, writeRoles } from '../src/publish/index.ts'

/** A call with one argument left out, and the name that the error has to say. */
type Row = readonly [call: string, argument: string, run: (nothing: never) => unknown]

const bytes = new Uint8Array(32)
const options = { channel: 'stable', nowMs: 0 }
const state = initialTrustState(parseTrustRoot(`did:keri:${'E'.repeat(44)}`))

const rows: readonly Row[] = [
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
  it.each(rows)('%s without %s: a TypeError that names it', async (_call, argument, run) => {
    const error = await Promise.resolve()
      .then(() => run(undefined as never))
      .then(
        () => 'no error',
        (thrown: unknown) => thrown,
      )
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toMatch(new RegExp(`^${argument} must `))
  })
})
