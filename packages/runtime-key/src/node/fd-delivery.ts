import type { ChildProcess } from 'node:child_process'
import type { Duplex } from 'node:stream'
import { wipe } from '@keyturn/primitives'
import { writeRuntimeKeyBlob } from '../blob.ts'
import { RuntimeKeyError } from '../errors.ts'
import {
  awaitReceipt,
  cleanEnvironment,
  DEFAULT_DELIVERY_TIMEOUT_MS,
  RUNTIME_KEY_VARIABLES,
  startChild,
} from './delivery.ts'
import type { ChildCommand, DeliveredChild, DeliveryOptions, RuntimeKeyDelivery } from './delivery.ts'
import type { RuntimeKey } from '../runtime-key.ts'

/** The number the child finds its pipe under: the first after stdin, stdout and stderr. */
export const KEY_FD = 3

/** Delivery of the 84-byte blob through an inherited pipe: read once, nothing in `/proc/<pid>/environ`. */
export function fdDelivery(options: DeliveryOptions = {}): RuntimeKeyDelivery {
  const { timeoutMs = DEFAULT_DELIVERY_TIMEOUT_MS } = options
  return {
    name: 'fd',
    async deliver(runtimeKey: RuntimeKey, command: ChildCommand): Promise<DeliveredChild> {
      const env = cleanEnvironment(command.env ?? process.env, options.onInherited)
      env[RUNTIME_KEY_VARIABLES.fd] = String(KEY_FD)
      const blob = writeRuntimeKeyBlob(runtimeKey)
      let child: ChildProcess
      try {
        // More than three entries would move the pipe away from its number.
        child = await startChild(
          { ...command, stdio: (command.stdio ?? defaultStdio).slice(0, KEY_FD) },
          env,
          options,
          1,
        )
      } catch (error) {
        wipe(blob)
        throw error
      }
      const pipe = child.stdio[KEY_FD] as Duplex
      const received = awaitReceipt(child, timeoutMs, (signal) => sendBlob(pipe, blob, signal)).finally(() =>
        wipe(blob),
      )
      return { child, received }
    },
  }
}

/** How long the pipe may still say what became of the key after the child is gone or time is up. */
const LAST_WORD_MS = 100
const defaultStdio = ['inherit', 'inherit', 'inherit'] as const

/** Writes the blob and waits until the child has closed its end. */
async function sendBlob(pipe: Duplex, blob: Uint8Array, signal: AbortSignal): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      // A client that took its key and ended at once: its end may be noticed before the end of the pipe, which tells
      // whether the key was read (closed) or not (reset).
      const refuse = (): void => void setTimeout(() => reject(signal.reason as Error), LAST_WORD_MS)
      if (signal.aborted) refuse()
      else signal.addEventListener('abort', refuse, { once: true })
      // The child closes without reading the rest: EPIPE or ECONNRESET. It ended, or it cannot read a blob.
      pipe.once('error', (cause) =>
        reject(new RuntimeKeyError('RK_CHILD_GONE', 'The client closed the pipe unread', { cause })),
      )
      pipe.once('end', resolve)
      pipe.resume()
      // `allowHalfOpen` of the socket is false, so our end closes by itself once the child's is closed.
      pipe.write(blob, () => wipe(blob))
    })
  } finally {
    pipe.destroy()
  }
}
