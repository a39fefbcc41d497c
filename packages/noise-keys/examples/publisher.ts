// A server that publishes its transport key, and a peer that finds it; the key is revoked and the peer notices.
import { createTransportIdentity, memoryDirectory } from '@keyturn/noise-keys'
import { Publisher } from '@keyturn/noise-keys/owner'
import { KeyFloors, lookUpKeys, preferredKey } from '@keyturn/noise-keys/reader'

const directory = memoryDirectory() // or releaseServerDirectory('https://updates.example')
const nowS = (): number => Math.floor(Date.now() / 1000)

// The owner: `seed` is the one secret to keep; call announce() once a day.
const { seed, ...identity } = createTransportIdentity()
let stored: Uint8Array | undefined
const publisher = new Publisher({
  identity,
  directory,
  withSeed: (use) => use(seed),
  stored,
  store: (metadata) => {
    stored = metadata
  },
})
console.log('published', (await publisher.announce()).active.device)

// A reader: `floors` is what it must never go below; store it before the key is used.
const floors = new KeyFloors()
const first = preferredKey(await lookUpKeys(directory, identity, floors, { nowS: nowS() }))
console.log('found', first.device)

await publisher.revoke('compromise')
const second = preferredKey(await lookUpKeys(directory, identity, floors, { nowS: nowS() }))
console.log('revoked', first.device, 'and found', second.device)
