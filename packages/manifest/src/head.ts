import { requireMembers } from '@keyturn/primitives'
import { ManifestError } from './errors.ts'
import { parseDocument } from './fields.ts'
import type { DocumentKind, Fields } from './fields.ts'
import { limits } from './limits.ts'
import { checkMirrorUrl } from './mirror-url.ts'
import type { Head, ManifestPin, PreloadPin, Rollout } from './model.ts'
import { parseTime } from './time.ts'
import { documentBytes } from './write-manifest.ts'

const KIND: DocumentKind = { name: 'head', schemaCode: 'MAN_SCHEMA', jsonCode: 'MAN_JSON' }
const TYPE = 'keyturn.head'
const SALT = /^[0-9a-f]{32}$/
const SAID = /^[A-Za-z0-9_-]{44}$/
// A version is part of addresses and of file names.
const VERSION = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$/
const MAX = Number.MAX_SAFE_INTEGER

function readPin(fields: Fields): ManifestPin {
  const version = fields.text('version', 128)
  if (!VERSION.test(version)) fields.fail('version', 'is not a version of A-Z, a-z, 0-9, ".", "_", "+" and "-"')
  return {
    version,
    sequence: fields.integer('sequence', 1, MAX),
    sha256: fields.digest('sha256'),
    length: fields.integer('length', 2, limits.manifestBytes),
  }
}

function readPreload(fields: Fields): PreloadPin {
  return { ...readPin(fields), at: fields.time('at') }
}

function readRollout(fields: Fields): Rollout {
  const salt = fields.text('salt', 32)
  if (!SALT.test(salt)) fields.fail('salt', 'is not 32 lower-case hex digits')
  return { percent: fields.integer('percent', 0, 100), salt, paused: fields.flag('paused', false) }
}

function readLog(fields: Fields): Head['log'] {
  const said = fields.text('said', 44)
  if (!SAID.test(said)) fields.fail('said', 'is not a SAID')
  return { sn: fields.integer('sn', 0, MAX), said }
}

/** A preload is a later release: whatever is on offer now, or withdrawn, needs none. */
function checkPreload({ preload, manifest, revoked }: Head, refuse: (message: string) => never): void {
  if (preload === undefined) return
  if (preload.sequence <= manifest.sequence) refuse('its preload is not newer than the release it offers')
  if (revoked.some(({ sha256 }) => sha256 === preload.sha256)) refuse('its preload is withdrawn')
}

function checkHead(head: Head): void {
  const refuse = (message: string): never => {
    throw new ManifestError('MAN_SCHEMA', `Cannot use head: ${message}`)
  }
  if (head.rollout !== undefined && head.fallback === undefined) refuse('a rollout needs a fallback')
  const [issued, expires] = [parseTime(head.issuedAt), parseTime(head.expiresAt)] as [number, number]
  if (expires <= issued) refuse('expires_at is not after issued_at')
  if (expires - issued > limits.headValidityMs) refuse('it is valid for more than 30 days')
  checkPreload(head, refuse)
  for (const { url } of head.mirrors) checkMirrorUrl(url)
}

/**
 * Reads the payload of a head: shape and its own rules. Its signatures are checked before this is called.
 *
 * @throws {@link ManifestError} `MAN_LIMIT`, `MAN_JSON`, `MAN_TYPE`, `MAN_SCHEMA`, `MAN_URL`.
 */
export function parseHead(payload: Uint8Array): Head {
  const fields = parseDocument(payload, KIND, limits.headBytes)
  fields.exactly('type', TYPE, 'MAN_TYPE')
  fields.integer('schema', 1, 1)
  const head: Head = {
    product: fields.name('product'),
    channel: fields.name('channel'),
    epoch: fields.integer('epoch', 0, MAX),
    sequence: fields.integer('sequence', 1, MAX),
    issuedAt: fields.time('issued_at'),
    expiresAt: fields.time('expires_at'),
    log: readLog(fields.object('log')),
    rolesVersion: fields.integer('roles_version', 1, MAX),
    manifest: readPin(fields.object('manifest')),
    ...(fields.has('fallback') && { fallback: readPin(fields.object('fallback')) }),
    ...(fields.has('rollout') && { rollout: readRollout(fields.object('rollout')) }),
    ...(fields.has('preload') && { preload: readPreload(fields.object('preload')) }),
    revoked: fields.has('revoked')
      ? fields.objects('revoked', {}, (item) => ({
          sequence: item.integer('sequence', 1, MAX),
          sha256: item.digest('sha256'),
        }))
      : [],
    mirrors: fields.has('mirrors')
      ? fields.objects('mirrors', { max: 64 }, (item) => ({
          url: item.text('url', 1024),
          weight: item.optionalInteger('weight', 0, 1_000_000) ?? 1,
          // Another scope is one of later versions: an ordinary mirror, as for readers that know none.
          ...(item.has('scope') && item.text('scope', 64) === 'lan' ? { scope: 'lan' as const } : {}),
        }))
      : [],
  }
  checkHead(head)
  return head
}

function pinMembers({ version, sequence, sha256, length }: ManifestPin): Record<string, string | number> {
  return { version, sequence, sha256, length }
}

/**
 * Writes the payload of a head; `signHead` puts it into its envelope.
 *
 * @throws {@link ManifestError} `MAN_SCHEMA`, `MAN_URL` for a head no reader would take.
 */
export function writeHead(head: Head): Uint8Array<ArrayBuffer> {
  requireMembers(head, 'head', ['product', 'manifest'])
  const payload = documentBytes({
    type: TYPE,
    schema: 1,
    product: head.product,
    channel: head.channel,
    epoch: head.epoch,
    sequence: head.sequence,
    issued_at: head.issuedAt,
    expires_at: head.expiresAt,
    log: { sn: head.log.sn, said: head.log.said },
    roles_version: head.rolesVersion,
    manifest: pinMembers(head.manifest),
    fallback: head.fallback && pinMembers(head.fallback),
    rollout: head.rollout && { percent: head.rollout.percent, salt: head.rollout.salt, paused: head.rollout.paused },
    preload: head.preload && { ...pinMembers(head.preload), at: head.preload.at },
    revoked: head.revoked.length === 0 ? undefined : head.revoked.map(({ sequence, sha256 }) => ({ sequence, sha256 })),
    mirrors:
      head.mirrors.length === 0 ? undefined : head.mirrors.map(({ url, weight, scope }) => ({ url, weight, scope })),
  })
  parseHead(payload)
  return payload
}
