import { open, readFile, rm } from 'node:fs/promises'
import type { Engine, LaunchOptions } from '@keyturn/install-engine'

/** A client that was played to its end. */
export interface Played {
  readonly exit: number | null
  /** What it printed. */
  readonly text: string
  /** Whether the server was asked and did not answer. */
  readonly offline: boolean
}

/**
 * Starts the client of an install and waits for its end.
 *
 * @param engine - Of the install.
 * @param file - Where its output goes meanwhile. It is a file and no pipe, because a client that ends at once is gone
 *   before anybody can listen, and Node drops what a pipe held then.
 * @param options - Of its `stdio`, the third counts; default `inherit`.
 */
export async function playToEnd(engine: Engine, file: string, options: LaunchOptions): Promise<Played> {
  const output = await open(file, 'w', 0o600)
  try {
    const stdio = ['ignore', output.fd, options.stdio?.[2] ?? 'inherit'] as const
    const { exited, confirmed, offline } = await engine.launch({ ...options, stdio })
    const exit = await exited
    await confirmed // it is written down after the client ended
    return { exit, text: await readFile(file, 'utf8'), offline }
  } finally {
    await output.close()
    await rm(file, { force: true })
  }
}
