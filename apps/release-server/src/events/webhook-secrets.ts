import { parseStrictJson, utf8Encode, wipe } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import type { Vault } from '@keyturn/vault-kdf'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'
import { AUDIT_LOCK } from '../audit/audit.ts'
import { collection } from '../storage/collection.ts'
import { flag, listOf, nullable, object, optional, preset, text, whole } from '../storage/shape.ts'

/** The secrets of a webhook in its record: in the clear without a vault, otherwise only a mark that they are sealed. */
export interface StoredSecrets {
  readonly secrets?: readonly string[] | undefined
  readonly sealed?: boolean | undefined
}

/** A webhook as shown: everything but its secrets. */
export interface WebhookView {
  readonly id: string
  readonly url: string
  /** Actions it subscribed to, such as `channel.publish`; empty: all. */
  readonly events: readonly string[]
  readonly created_at: string
  /** Nothing is sent while it is paused, and nothing of that time later. */
  readonly paused: boolean
  /** What became of the last attempt; null before the first one. */
  readonly last: DeliveryResult | null
}

/** What became of an attempt to deliver an event. */
export interface DeliveryResult {
  readonly at: string
  readonly type: string
  readonly ok: boolean
  /** Status of the answer; null when there was none. */
  readonly status: number | null
}

/** A webhook as stored. */
export interface StoredWebhook extends WebhookView, StoredSecrets {}

/** Webhooks by their id. */
export const webhooks = collection(
  'webhooks',
  object<StoredWebhook>({
    id: text,
    url: text,
    events: listOf(text),
    created_at: text,
    paused: preset(flag, false),
    last: preset(nullable(object<DeliveryResult>({ at: text, type: text, ok: flag, status: nullable(whole) })), null),
    secrets: optional(listOf(text)),
    sealed: optional(flag),
  }),
)

/** A webhook without its secrets. */
export function viewOf({ id, url, events, created_at, paused, last }: WebhookView): WebhookView {
  return { id, url, events, created_at, paused, last }
}

/** How often a rotation is tried again because another one came first. */
const MAX_TRIES = 10

/** The secrets of webhooks: sealed in the vault where the server has one, in the record otherwise. */
export class WebhookSecrets {
  readonly #vault: Vault | undefined

  constructor(vault: Vault | undefined) {
    this.#vault = vault
  }

  /** Whether secrets go into a vault; otherwise they are in the record. */
  get sealing(): boolean {
    return this.#vault !== undefined
  }

  /** Stores secrets, newest first; returns what belongs in the record. */
  async write(
    id: string,
    secrets: readonly string[],
    expected: number | 'absent' | 'any' = 'any',
  ): Promise<StoredSecrets> {
    if (this.#vault === undefined) return { secrets }
    const bytes = utf8Encode(JSON.stringify(secrets))
    try {
      await this.#cell(this.#vault).seal(id, bytes, { expected })
    } finally {
      wipe(bytes)
    }
    return { sealed: true }
  }

  /** Reads secrets; `SRV_UNAVAILABLE` while they are sealed and the server has no passphrase. */
  async read(id: string, stored: StoredSecrets): Promise<readonly string[]> {
    if (stored.sealed !== true) return stored.secrets ?? []
    if (this.#vault === undefined)
      throw new ServerError('SRV_UNAVAILABLE', 'The secrets of this webhook are sealed, and the vault is not open')
    const bytes = await this.#cell(this.#vault).open(id)
    try {
      return listOf(text)(parseStrictJson(bytes), '')
    } finally {
      wipe(bytes)
    }
  }

  /**
   * Puts a new secret before the newest one of a webhook, whose record is `stored`; older ones are dropped. Rotations
   * at the same time, on any replica, follow one another; without a vault the caller holds the record.
   */
  async rotate(id: string, stored: StoredSecrets, secret: string): Promise<StoredSecrets> {
    for (let attempt = 1; ; attempt++) {
      const expected = await this.#revision(id)
      const [current] = await this.read(id, stored)
      try {
        return await this.write(id, current === undefined ? [secret] : [secret, current], expected ?? 'absent')
      } catch (error) {
        if (!(error instanceof VaultError) || error.code !== 'VK_CONFLICT' || attempt >= MAX_TRIES) throw error
      }
    }
  }

  async #revision(id: string): Promise<number | undefined> {
    if (this.#vault === undefined) return undefined
    for await (const { name, revision } of this.#cell(this.#vault).list()) if (name === id) return revision
    return undefined
  }

  /** Drops the secrets of a webhook. */
  async remove(id: string): Promise<void> {
    if (this.#vault === undefined) return
    await this.#cell(this.#vault)
      .remove(id)
      .catch((error: unknown) => {
        if (!(error instanceof VaultError) || error.code !== 'VK_NOT_FOUND') throw error
      })
  }

  /** Seals secrets that are in the clear because they were stored before there was a vault. */
  async sealClear(context: ServerContext): Promise<void> {
    if (this.#vault === undefined) return
    for (const { key, value } of await webhooks.all(context.metadata)) {
      const { secrets } = value
      if (secrets === undefined) continue
      const sealed = await this.write(key, secrets)
      await context.metadata.transaction([AUDIT_LOCK], async (records) => {
        const fresh = await webhooks.get(records, key)
        if (fresh !== undefined && JSON.stringify(fresh.secrets) === JSON.stringify(secrets))
          await webhooks.put(records, { key, value: { ...viewOf(fresh), ...sealed } })
      })
    }
  }

  #cell(vault: Vault): ReturnType<ReturnType<Vault['partition']>['cell']> {
    return vault.partition('keyturn').cell('webhooks')
  }
}
