import { randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { didKey } from '@keyturn/kel'
import { ed25519PublicKey, hexEncode, sha512, wipe, x25519PublicKey } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { readSmallFile, writeSmallFile } from '../disk/disk.ts'
import { hostSystem } from '../disk/host-system.ts'

/** How this machine is known to servers that hand keys to listed devices only. */
export interface DeviceName {
  /** X25519 public key, hex: what an operator lists. */
  readonly key: string
  /** The same device as `did:key`: what an identity attests. */
  readonly did: string
}

/** A file of this user outside every install, so that a copied install takes nothing along. */
export function userFile(env: Readonly<Record<string, string | undefined>>, name: string): string {
  return join(hostSystem.userFolder(env), name)
}

/** The key of this machine: an Ed25519 seed, from which its Noise key follows as `did:key` derives key agreement. */
export class DeviceKey {
  readonly #fs: FileSystem
  readonly #file: string

  /** @param file - 0600, 32 bytes. */
  constructor(fs: FileSystem, file: string) {
    this.#fs = fs
    this.#file = file
  }

  /** Where it is for this user. */
  static file(env: Readonly<Record<string, string | undefined>>): string {
    return userFile(env, 'device.key')
  }

  async #seed(): Promise<Uint8Array | undefined> {
    const seed = await readSmallFile(this.#fs, this.#file, 32)
    return seed?.length === 32 ? seed : undefined
  }

  /** The X25519 secret, if this machine was ever named; the caller wipes it. */
  async secret(): Promise<Uint8Array | undefined> {
    const seed = await this.#seed()
    if (seed === undefined) return undefined
    const digest = sha512(seed)
    const secret = digest.slice(0, 32)
    wipe(seed, digest)
    return secret
  }

  /** Public names of this machine; its key is made when there is none. */
  async name(): Promise<DeviceName> {
    let seed = await this.#seed()
    if (seed === undefined) {
      seed = new Uint8Array(randomBytes(32))
      await this.#fs.mkdir(dirname(this.#file), { recursive: true, mode: 0o700 })
      await writeSmallFile(this.#fs, this.#file, seed)
    }
    const did = didKey(ed25519PublicKey(seed))
    wipe(seed)
    const secret = (await this.secret()) as Uint8Array
    const key = hexEncode(x25519PublicKey(secret))
    wipe(secret)
    return { key, did }
  }
}
