import type { KeyDirectory } from '@keyturn/noise-keys'
import { base64Encode } from '@keyturn/primitives'
import type { AttesterView, DeviceView, KeyAgeView, Page } from './api.ts'
import { queryText } from './http.ts'
import type { HttpCaller } from './http.ts'
import type { KillView, ReleaseLogView } from './log-views.ts'
import { serverKeyDirectory } from './key-directory.ts'

const segment = encodeURIComponent

/** The calls about keys that the server delivers or lists, and about the devices that may fetch them. */
export class KeyCalls {
  readonly #http: HttpCaller

  protected constructor(http: HttpCaller) {
    this.#http = http
  }

  /** Keys of a product, their ages, and when their rotations are due. */
  async listKeys(slug: string): Promise<readonly KeyAgeView[]> {
    const page = await this.#http.json<Page<KeyAgeView>>({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/keys`,
      what: `list keys of "${slug}"`,
    })
    return page.items
  }

  /** Seals a runtime key on the server; send it over TLS only. `blob` is the 84-byte form. */
  async putRuntimeKey(slug: string, keyId: number, blob: Uint8Array): Promise<void> {
    await this.#http.send({
      method: 'PUT',
      path: `/v1/products/${segment(slug)}/runtime-keys/${keyId}`,
      what: `store runtime key ${keyId}`,
      body: blob,
      headers: { 'content-type': 'application/octet-stream' },
    })
  }

  /** Seals the X25519 secret of a transport key on the server, which uses it while its published record says so. */
  putTransportKey(identity: string, device: string, secret: Uint8Array): Promise<{ public_key: string }> {
    return this.#http.json({
      method: 'PUT',
      path: `/v1/transport-keys/${segment(identity)}/${segment(device)}`,
      what: `store transport key "${device}"`,
      body: secret,
      headers: { 'content-type': 'application/octet-stream' },
    })
  }

  /**
   * Ends a release or head key, by a notice that the key itself signed (`signKill` of `@keyturn/manifest`). It needs no
   * token, and the same notice again changes nothing.
   */
  kill(slug: string, notice: Uint8Array): Promise<KillView> {
    return this.#http.json({
      method: 'POST',
      path: `/v1/products/${segment(slug)}/kills`,
      what: `end a key of "${slug}"`,
      body: notice,
      headers: { 'content-type': 'application/octet-stream' },
    })
  }

  /** The log of releases of a product; `undefined` when the server keeps none. */
  getReleaseLog(slug: string): Promise<ReleaseLogView | undefined> {
    return this.#http.find({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/release-log`,
      what: `read the log of releases of "${slug}"`,
    })
  }

  /** The transport keys that this server publishes, as a directory to publish to and to look keys up in. */
  keyDirectory(): KeyDirectory {
    return serverKeyDirectory(this.#http, 'release server')
  }

  /** Lets a device fetch runtime keys, by its X25519 public key in hex. */
  async addDevice(slug: string, key: string, note = ''): Promise<void> {
    await this.#http.send({
      method: 'PUT',
      path: `/v1/products/${segment(slug)}/devices/${segment(key)}`,
      what: 'add a device',
      json: { note },
    })
  }

  /** Removes a device, at once. */
  async removeDevice(slug: string, key: string): Promise<void> {
    await this.#http.send({
      method: 'DELETE',
      path: `/v1/products/${segment(slug)}/devices/${segment(key)}`,
      what: 'remove a device',
    })
  }

  /** Devices of a product: who listed them, and their status. */
  async listDevices(slug: string): Promise<readonly DeviceView[]> {
    const page = await this.#http.json<Page<DeviceView>>({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/devices`,
      what: `list devices of "${slug}"`,
    })
    return page.items
  }

  /** Lets an identity attest devices, by its key event log, or sends its longer log. */
  putAttester(slug: string, prefix: string, log: Uint8Array, note = ''): Promise<AttesterView> {
    return this.#http.json({
      method: 'PUT',
      path: `/v1/products/${segment(slug)}/attesters/${segment(prefix)}${queryText(note === '' ? {} : { note })}`,
      what: 'list an identity that attests devices',
      body: log,
      headers: { 'content-type': 'application/cesr' },
    })
  }

  /** Identities whose statements about devices count. */
  async listAttesters(slug: string): Promise<readonly AttesterView[]> {
    const page = await this.#http.json<Page<AttesterView>>({
      method: 'GET',
      path: `/v1/products/${segment(slug)}/attesters`,
      what: `list who attests devices of "${slug}"`,
    })
    return page.items
  }

  /** Removes an identity; its devices are removed at once. */
  async removeAttester(slug: string, prefix: string): Promise<void> {
    await this.#http.send({
      method: 'DELETE',
      path: `/v1/products/${segment(slug)}/attesters/${segment(prefix)}`,
      what: 'remove an identity',
    })
  }

  /**
   * Sends the statement of a listed identity about a device: the device document and its statement, as
   * `keyturn device link` writes them; with `log` when the identity was rotated since. Needs no token.
   */
  attestDevice(
    slug: string,
    attestation: { prefix: string; document: Uint8Array; statement: Uint8Array; log?: Uint8Array },
  ): Promise<{ key: string; name: string; status: string }> {
    const { prefix, document, statement, log } = attestation
    return this.#http.json({
      method: 'POST',
      path: `/v1/products/${segment(slug)}/devices:attest`,
      what: 'attest a device',
      json: {
        prefix,
        document: base64Encode(document),
        statement: base64Encode(statement),
        ...(log === undefined ? {} : { log: base64Encode(log) }),
      },
    })
  }
}
