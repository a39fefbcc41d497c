import type { ChildProcess } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { keyturn } from './keyturn.ts'

/** A release server that runs as `keyturn serve`. */
export interface Serving {
  readonly url: string
  readonly port: number
  readonly token: string
  readonly announced: Record<string, unknown>
  stop(): Promise<void>
}

/** Starts `keyturn serve` on a free port and waits until it answers. */
export async function startServing(flags: readonly string[]): Promise<Serving> {
  let child: ChildProcess | undefined
  let printed = ''
  const announced = Promise.withResolvers<string>()
  const ended = keyturn(['serve', '--port', '0', '--json', ...flags], {
    onSpawn: (spawned) => {
      child = spawned
      spawned.stdout?.on('data', (text: string) => {
        printed += text
        if (printed.includes('\n')) announced.resolve(printed)
      })
    },
  })
  void ended.then(({ stdout, stderr }) => announced.reject(new Error(`serve ended: ${stdout}${stderr}`)))
  const { data } = JSON.parse((await announced.promise).split('\n')[0] ?? '') as { data: Record<string, unknown> }
  return {
    url: String(data['url']),
    port: Number(data['port']),
    token: (await readFile(String(data['token_file']), 'utf8')).trim(),
    announced: data,
    stop: async () => {
      child?.kill('SIGTERM')
      await ended
    },
  }
}
