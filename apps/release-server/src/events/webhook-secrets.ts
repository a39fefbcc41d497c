import { parseStrictJson, utf8Encode, wipe } from '@keyturn/primitives'
import type { JsonObject } from '@keyturn/primitives'
import { VaultError } from '@keyturn/vault-kdf'
import type { Vault } from '@keyturn/vault-kdf'
import type { ServerContext } from '../context.ts'
import { ServerError } from '../errors.ts'

/** How the secrets of a webhook lie in its record: in the clear without a vault, else only the word that they are sealed. */
export interface StoredSecrets {
  readonly secrets?: readonly string[]
  readonly sealed?: boolean
}

/** How often a turn is begun anew because another one came between. */
const tries = 10

/** The secrets of webhooks: sealed in the vault where the server has one, in the record otherwise. */
export class WebhookSecrets {
  readonly #vault: Vault | undefined

  constructor(vault: Vault | undefined) {
    this.#vault = vault
  }

  /** Whether secrets go into a vault; otherwise they lie in the record. */
  get sealing(): boolean {
    return this.#vault !== undefined
  }

  /** Stores secrets, newest first; gives what belongs into the record. */
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
      return parseStrictJson(bytes) as string[]
    } finally {
      wipe(bytes)
    }
  }

  /**
   * Puts a new secret before the newest one of a webhook, whose record is `stored`; older ones go. Turns that come at
   * once, on any replica, follow one another; without a vault the caller holds the record.
   */
  async turn(id: string, stored: StoredSecrets, secret: string): Promise<StoredSecrets> {
    for (let attempt = 1; ; attempt++) {
      const expected = await this.#revision(id)
      const [current] = await this.read(id, stored)
      try {
        return await this.write(id, current === undefined ? [secret] : [secret, current], expected ?? 'absent')
      } catch (error) {
        if (!(error instanceof VaultError) || error.code !== 'VK_CONFLICT' || attempt >= tries) throw error
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

  /** Seals what lies in the clear from before there was a vault. */
  async sealClear(context: ServerContext): Promise<void> {
    if (this.#vault === undefined) return
    for (const { key, value } of await context.metadata.list('webhooks')) {
      const { secrets } = value as unknown as StoredSecrets
      if (secrets === undefined) continue
      const sealed = await this.write(key, secrets)
      await context.metadata.transaction(['audit'], async (records) => {
        const fresh = await records.get('webhooks', key)
        if (fresh === undefined) return
        const { secrets: clear, ...view } = fresh.value as JsonObject
        if (JSON.stringify(clear) === JSON.stringify(secrets))
          await records.put('webhooks', { key, value: { ...view, ...sealed } as unknown as JsonObject })
      })
    }
  }

  #cell(vault: Vault): ReturnType<ReturnType<Vault['partition']>['cell']> {
    return vault.partition('keyturn').cell('webhooks')
  }
}
