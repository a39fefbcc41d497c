import { PublisherError } from './errors.ts'

/** Name of the project file. */
export const PROJECT_FILE = 'keyturn.json'

/** What products and channels may be called: the name is part of paths and addresses. */
const NAME = /^[a-z0-9-]{1,64}$/

/** Whether products and channels may be called that. */
export function isChannelName(text: string): boolean {
  return NAME.test(text)
}

/**
 * Checks the name of a channel before it becomes part of a path.
 *
 * @returns The name.
 * @throws {@link PublisherError} `CLI_USAGE`.
 */
export function checkChannelName(channel: string): string {
  if (isChannelName(channel)) return channel
  throw new PublisherError('CLI_USAGE', 'The name of a channel is 1 to 64 of the characters a-z, 0-9 and "-"')
}
