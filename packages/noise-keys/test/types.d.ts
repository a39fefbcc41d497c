declare module 'dns-packet' {
  const packet: { decode(bytes: Uint8Array): unknown; encode(packet: never): Uint8Array }
  export default packet
}
declare module 'bittorrent-dht' {
  export class Client {
    constructor(options: object)
    listen(port: number, host: string, done: () => void): void
    address(): { port: number }
    addNode(node: { host: string; port: number }): void
    on(event: string, listener: () => void): void
    toJSON(): { nodes: unknown[] }
    destroy(done: () => void): void
    get(target: Uint8Array, options: object, done: (error: Error | null, value: never) => void): void
    put(value: object, done: (error: Error | null, target: unknown, nodes?: number) => void): void
  }
}
