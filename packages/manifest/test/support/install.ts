import { utf8Encode, sha256Hex } from '@keyturn/primitives'
import { verifyInstalled, verifyRelease, writeTrustState } from '../../src/index.ts'
import type {
  AcceptedRelease,
  InstalledDecision,
  ReleaseDecision,
  ReleaseInput,
  TrustState,
  VerifyOptions,
} from '../../src/index.ts'
import { options } from './publisher.ts'
import type { Publisher } from './publisher.ts'

/** Blobs as a server hands them out: by hash, and not necessarily the right ones. */
export type Blobs = (sha256: string) => Uint8Array | undefined

/** The blobs that the publisher's default files are made of. */
const honestBlobs: Blobs = (sha256) =>
  ['exe', 'locale', 'archive', 'launcher', 'new file']
    .map((text) => utf8Encode(text))
    .find((bytes) => sha256Hex(bytes) === sha256)

/** An install: trust, stored documents and a tree, changed only by what verifyRelease accepts and hashes cover. */
export class Install {
  state: TrustState
  tree = new Map<string, string>()
  documents: { manifest: Uint8Array; signatures: Uint8Array; log: Uint8Array; roles: Uint8Array } | undefined
  newestRoles: Uint8Array | undefined
  log: Uint8Array | undefined
  last: ReleaseDecision | undefined

  constructor(state: TrustState) {
    this.state = state
  }

  static async with(publisher: Publisher, input?: ReleaseInput): Promise<Install> {
    const install = new Install(publisher.state())
    const decision = install.cycle(input ?? (await publisher.release()))
    if (decision.outcome !== 'accepted')
      throw new Error(`Set-up was refused: ${decision.outcome === 'refused' ? decision.error.message : ''}`)
    return install
  }

  cycle(input: ReleaseInput, change: Partial<VerifyOptions> = {}, blobs: Blobs = honestBlobs): ReleaseDecision {
    const decision = verifyRelease(input, this.state, options(change))
    this.last = decision
    this.state = decision.state
    if (decision.authority !== undefined) {
      this.log = decision.authority.logBytes
      this.newestRoles = decision.authority.rolesBytes
    }
    if (decision.outcome === 'accepted') this.#apply(decision, input, blobs)
    return decision
  }

  #apply({ manifest, manifestBytes, authority }: AcceptedRelease, input: ReleaseInput, blobs: Blobs): void {
    const staged = new Map<string, string>()
    for (const { path, sha256, size } of manifest.files) {
      const bytes = this.tree.get(path) === sha256 ? undefined : blobs(sha256)
      if (this.tree.get(path) === sha256) staged.set(path, sha256)
      else if (bytes !== undefined && bytes.length === size && sha256Hex(bytes) === sha256) staged.set(path, sha256)
      else return
    }
    this.tree = staged
    if (authority !== undefined && input.signatures !== undefined) {
      this.documents = {
        manifest: manifestBytes,
        signatures: input.signatures,
        log: authority.logBytes,
        roles: authority.rolesBytes,
      }
    }
  }

  /** What an offline start says. */
  start(): InstalledDecision {
    if (this.documents === undefined) throw new Error('Nothing is installed')
    const { log, newestRoles } = this
    return verifyInstalled(
      { ...this.documents, ...(log !== undefined && { log }), ...(newestRoles !== undefined && { newestRoles }) },
      this.state,
    )
  }

  /** Everything that an attack must not change. */
  fingerprint(): string {
    return `${new TextDecoder().decode(writeTrustState(this.state))}${JSON.stringify([...this.tree])}`
  }
}
