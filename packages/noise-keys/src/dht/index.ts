export { dhtNetwork, dhtTarget, dhtVerify, MAX_DHT_VALUE_BYTES } from './dht-network.ts'

export type { DhtNode, DhtValue } from './dht-network.ts'
