import { wipe } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { changeKeyring, storeKeyring } from './keyring-changes.ts'
import type { KeyringChange, Transition } from './keyring-changes.ts'
import type { KeyringEntry } from './keyring-document.ts'
import { legacyProfiles } from './legacy.ts'
import type { LegacyProfile } from './legacy.ts'
import type { MasterKeyProvider, WrapContext } from './master-key-provider.ts'
import { checkActor, quarantineUnder, rotationDue } from './policy.ts'
import type { RotationDue, VaultPolicy } from './policy.ts'
import { countVersion } from './store.ts'
import {
  acknowledge,
  activeVersion,
  addLegacyMaster,
  compromise,
  defaultQuarantineMs,
  destroy,
  findEntry,
  nextVersion,
  promote,
  quarantine,
  removeNode,
  restore,
  resume,
  setLegacyPolicy,
  stage,
  suspend,
} from './transitions.ts'
import type { DestroyOptions, PromoteOptions } from './transitions.ts'
import type { VaultCore } from './vault-core.ts'

const MAX_PROMOTE_TRIES = 8

/** The refusal of a rotation while another one runs: nothing is wrong, and it can be repeated at once. */
function staged(version: number): VaultError {
  return new VaultError('VK_CONFLICT', `Another rotation has staged key version ${version} meanwhile`, {
    details: { version },
    hint: 'See what the other rotation did, and rotate again if it is still wanted',
  })
}

/**
 * Everything that happens to masters. Each event is checked first, written to the audit chain as an intent, then done
 * by one write that sets keyring and fence together, and written down as done: a chain that does not take the intent
 * stops the event with nothing changed.
 */
export class KeyEvents {
  readonly #core: VaultCore
  readonly #provider: MasterKeyProvider

  /** Made by {@link Vault.open}. */
  constructor(core: VaultCore, provider: MasterKeyProvider) {
    this.#core = core
    this.#provider = provider
  }

  /** All versions, tombstones included. */
  list(): readonly KeyringEntry[] {
    return this.#core.keyring.document.entries
  }

  /** The version writes go under, if there is one. */
  get active(): number | undefined {
    return activeVersion(this.#core.keyring.document)
  }

  /**
   * Adds a fresh master in state `staged`. Returns its version.
   *
   * @throws VaultError `VK_PROVIDER`, `VK_KEY_REUSED`, `VK_LIMIT`, `VK_AUDIT`, `VK_CONFLICT`.
   */
  async stage(): Promise<number> {
    return this.#stage(undefined)
  }

  /** @param from - The version that must still be active; otherwise another rotation was faster. */
  async #stage(from: number | undefined): Promise<number> {
    await this.#core.reloadKeyring()
    await this.#core.checkNotRolledBack() // no version number is handed out twice
    const version = nextVersion(this.#core.keyring.document)
    const master = await this.#ask(() => this.#provider.generate(this.#context(version)))
    try {
      await this.#change({ type: 'key_staged', toVersion: version }, (document) => {
        if (document.entries.some((entry) => entry.version === version)) throw staged(version)
        if (from !== undefined && activeVersion(document) !== from) throw staged(version)
        return stage(document, version, master, this.#core.clock())
      })
    } finally {
      wipe(master.plaintext)
    }
    return version
  }

  /**
   * Makes a staged version active; the active one so far only opens from now on.
   *
   * @throws VaultError `VK_STATE`, `VK_ACKNOWLEDGE`, `VK_PROVIDER`, `VK_AUDIT`, `VK_CONFLICT`.
   */
  async promote(version: number, options: PromoteOptions = {}): Promise<void> {
    await this.#core.reloadKeyring()
    // Fails closed: a version that cannot be unwrapped now must not become the one all writes need.
    if (findEntry(this.#core.keyring.document, version).state === 'staged')
      await this.#core.keyring.withMaster(version, () => undefined)
    const before = this.active
    await this.#change(
      { type: 'key_activated', toVersion: version, ...(before === undefined ? {} : { fromVersion: before }) },
      (document) => promote(document, version, this.#core.clock(), options),
    )
    if (before !== undefined)
      await this.#core.audit.append({ type: 'key_demoted', outcome: 'done', fromVersion: before, toVersion: version })
  }

  /**
   * Stages and promotes in one go. Returns the new active version.
   *
   * @throws VaultError as {@link KeyEvents.stage} and {@link KeyEvents.promote}; `VK_CONFLICT` (kind `busy`) when
   * another rotation is under way.
   */
  async rotate(options: PromoteOptions = {}): Promise<number> {
    const version = await this.stage()
    for (let tries = 1; ; tries++) {
      try {
        await this.promote(version, options)
        return version
      } catch (error) {
        // What came between staging and promoting does not concern the version: it must not stay staged for that.
        const disturbed = error instanceof VaultError && error.code === 'VK_CONFLICT' && tries < MAX_PROMOTE_TRIES
        if (!disturbed) throw error
      }
    }
  }

  /** Whether the vault was opened with a policy. */
  get hasPolicy(): boolean {
    return this.#core.policy !== undefined
  }

  /**
   * Whether the policy of the vault wants a rotation now.
   *
   * @throws TypeError when the vault was opened without a policy.
   */
  async rotationDue(): Promise<RotationDue> {
    const policy = this.#policy()
    await this.#core.reloadKeyring()
    const active = this.list().find(({ state }) => state === 'active')
    const records = active === undefined ? 0 : await this.census(active.version)
    return rotationDue(policy, active, records, this.#core.clock())
  }

  /**
   * {@link KeyEvents.rotate} when the policy wants it. Call it from a timer, in as many processes as you like.
   *
   * @returns The new active version; `undefined` when nothing was due.
   * @throws VaultError as {@link KeyEvents.rotate}. TypeError when the vault was opened without a policy.
   */
  async rotateIfDue(options: PromoteOptions = {}): Promise<number | undefined> {
    for (let tries = 1; ; tries++) {
      const { due, reasons } = await this.rotationDue()
      const from = this.active
      if (!due || from === undefined) return undefined
      try {
        const waiting = this.list().find(({ state }) => state === 'staged')
        const version = waiting?.version ?? (await this.#stage(from))
        await this.promote(version, options)
        const details = { change: 'rotated_by_policy', reasons: reasons.map((reason) => ({ ...reason })) }
        await this.#core.audit.append({ type: 'policy_changed', outcome: 'done', toVersion: version, details })
        return version
      } catch (error) {
        // Another process has rotated meanwhile: it is looked at again, and nothing is due any more.
        const raced = error instanceof VaultError && (error.code === 'VK_CONFLICT' || error.code === 'VK_STATE')
        if (!raced || tries === MAX_PROMOTE_TRIES) throw error
      }
    }
  }

  #policy(): VaultPolicy {
    const { policy } = this.#core
    if (policy === undefined) throw new TypeError('The vault was opened without a policy')
    return policy
  }

  /** Stops all use of a version until {@link KeyEvents.resume}. */
  async suspend(version: number): Promise<void> {
    await this.#change({ type: 'key_suspended', fromVersion: version }, (document) =>
      suspend(document, version, this.#core.clock()),
    )
  }

  /** Ends a suspension. */
  async resume(version: number): Promise<void> {
    await this.#change({ type: 'key_resumed', toVersion: version }, (document) =>
      resume(document, version, this.#core.clock()),
    )
  }

  /** Marks a version as known to others: only the sweep opens it, and takes it first. */
  async compromise(version: number, reason = ''): Promise<void> {
    await this.#change({ type: 'key_compromised', fromVersion: version, details: { reason } }, (document) =>
      compromise(document, version, this.#core.clock()),
    )
  }

  /**
   * Puts a version in quarantine: census 0 is needed, nothing opens under it any more, and it can be brought back.
   *
   * @throws VaultError `VK_SWEEP_INCOMPLETE`, `VK_STATE`.
   */
  async retire(version: number): Promise<void> {
    const census = await this.census(version)
    await this.#checkNoSecrets(version)
    await this.#change({ type: 'key_quarantined', fromVersion: version, details: { census } }, (document) =>
      quarantine(document, version, census, this.#core.clock()),
    )
  }

  /** Brings a version back out of quarantine. */
  async restore(version: number): Promise<void> {
    await this.#change({ type: 'key_restored', toVersion: version }, (document) =>
      restore(document, version, this.#core.clock()),
    )
  }

  /**
   * Destroys a version for good. A tombstone stays.
   *
   * @throws VaultError `VK_SWEEP_INCOMPLETE`, `VK_QUARANTINE`, `VK_STATE`, `VK_POLICY`.
   */
  async destroy(version: number, options: DestroyOptions = {}): Promise<void> {
    const census = await this.census(version)
    await this.#checkNoSecrets(version)
    const { policy, audit, clock } = this.#core
    let { quarantineMs } = options
    if (policy !== undefined) {
      if (options.forceWithCensus !== undefined) checkActor(policy.destroy.mayForce, audit.actor, 'force a destruction')
      quarantineMs = quarantineUnder(policy, quarantineMs, defaultQuarantineMs)
    }
    const details = { census, forced: options.forceWithCensus !== undefined }
    await this.#change({ type: 'key_destroyed', fromVersion: version, details }, (document) =>
      destroy(document, version, clock(), { ...options, quarantineMs, census }),
    )
  }

  /** Wraps every master again under the provider's newest wrapping key; no data is touched. Returns how many. */
  async rewrap(): Promise<number> {
    const rewrap = this.#provider.rewrap?.bind(this.#provider)
    if (rewrap === undefined) throw new TypeError(`Provider "${this.#provider.id}" cannot rewrap`)
    await this.#core.reloadKeyring()
    const { document } = this.#core.keyring
    const entries = await Promise.all(
      document.entries.map(async (entry) => {
        const { wrapped } = entry
        return wrapped === undefined
          ? entry
          : { ...entry, wrapped: await this.#ask(() => rewrap(wrapped, this.#context(entry.version))) }
      }),
    )
    await this.#change({ type: 'key_rewrapped', details: { provider: this.#provider.id } }, (now) => {
      if (now.epoch !== document.epoch)
        throw new VaultError('VK_CONFLICT', 'The keyring was changed while it was rewrapped')
      return { ...now, epoch: now.epoch + 1, entries }
    })
    return entries.filter((entry) => entry.wrapped !== undefined).length
  }

  /**
   * What to do when the provider has rotated its own wrapping key: nothing, wrap the masters again (default), or turn
   * the master as well.
   */
  async onProviderRotated(policy: 'ignore' | 'rewrap' | 'rotate' = 'rewrap'): Promise<void> {
    if (policy === 'ignore') return
    await this.rewrap()
    if (policy === 'rotate') await this.rotate()
  }

  /**
   * Brings the master of a HexVault deployment in: it opens what that wrote and never seals.
   *
   * @param profiles - The generations that wrote with it, in the order to try; default all, newest first.
   */
  async addLegacyMaster(
    master: Uint8Array,
    profiles: readonly LegacyProfile[] = legacyProfiles,
    version = 0,
  ): Promise<void> {
    const wrap = this.#provider.wrap?.bind(this.#provider)
    if (wrap === undefined) throw new TypeError(`Provider "${this.#provider.id}" cannot wrap a master from elsewhere`)
    const wrapped = await this.#ask(() => wrap(master, this.#context(version)))
    await this.#change(
      { type: 'legacy_master_added', toVersion: version, details: { profiles: [...profiles] } },
      (document) =>
        addLegacyMaster(
          document,
          version,
          { plaintext: master, wrapped, legacyProfiles: profiles },
          this.#core.clock(),
        ),
    )
  }

  /** Says whether bytes without a header are still read as HexVault's. */
  async setLegacyPolicy(legacy: 'accept' | 'refuse'): Promise<void> {
    await this.#change({ type: 'policy_changed', details: { legacy } }, (document) => setLegacyPolicy(document, legacy))
  }

  /** Tells that this node has loaded the present keyring; registers it the first time. */
  async acknowledge(node: string): Promise<void> {
    await this.#core.reloadKeyring()
    await storeKeyring(this.#core, (document) => acknowledge(document, node, document.epoch))
  }

  /** Forgets a node that is gone. */
  async removeNode(node: string): Promise<void> {
    await this.#change({ type: 'policy_changed', details: { node_removed: node } }, (document) =>
      removeNode(document, node),
    )
  }

  /** Records still sealed under a version. */
  async census(version: number): Promise<number> {
    this.#core.checkOpen()
    const legacyMaster = this.#core.keyring.entry(version)?.legacyProfiles !== undefined
    return countVersion(await this.#core.store.census(), version, legacyMaster)
  }

  #context(keyVersion: number): WrapContext {
    return { vaultId: this.#core.keyring.document.vaultId, keyVersion, purpose: 'master' }
  }

  async #ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (cause) {
      if (cause instanceof VaultError) throw cause
      throw new VaultError('VK_PROVIDER', `Provider "${this.#provider.id}" did not answer`, { cause })
    }
  }

  async #change(change: KeyringChange, transition: Transition): Promise<void> {
    await changeKeyring(this.#core, change, transition)
  }

  /** Secrets of erasable partitions that are wrapped under a version would be lost with it, force or not. */
  async #checkNoSecrets(version: number): Promise<void> {
    const count = await this.#core.secrets.countUnder(version)
    if (count === 0) return
    throw new VaultError(
      'VK_SWEEP_INCOMPLETE',
      `${count} partition secrets are still wrapped under key version ${version}`,
      { details: { version, count }, hint: 'Run the sweep: it wraps them under the active version' },
    )
  }
}
