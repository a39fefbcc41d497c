import { OneAtATime } from '@keyturn/primitives'
import type { HeadSigner } from '../releases/rollout.ts'
import { signWantedHead, watchChannel } from './sign-wanted-head.ts'
import type { SigningOptions } from './sign-wanted-head.ts'

/**
 * A head signer in the process of the server, for one machine that holds the head key anyway. It decides as one behind
 * a socket does, and takes one request at a time.
 *
 * @param options - Where `signer` may open the key for each signature, so that no key is in memory between them.
 */
export function localHeadSigner(options: SigningOptions): HeadSigner {
  const queue = new OneAtATime()
  return {
    sign: (payload, reason) => queue.run(() => signWantedHead(options, payload, reason)),
    watch: (product, channel) => queue.run(() => watchChannel(options, product, channel)),
    connected: () => Promise.resolve(true),
  }
}
