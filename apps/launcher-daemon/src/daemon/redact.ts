import { homedir, hostname, userInfo } from 'node:os'

/** What is taken out of a text before it leaves the machine. */
export interface Private {
  readonly home: string
  readonly user: string
  readonly host: string
}

/** A name shorter than this would be found in ordinary words. */
const LEAST_NAME = 3

/** The names of this machine and its user. */
export function privateNames(): Private {
  let user = ''
  try {
    user = userInfo().username
  } catch {
    // a user without an entry in the system's list
  }
  return { home: homedir(), user, host: hostname() }
}

/** Words that a secret follows. */
const SECRET_WORDS = [
  String.raw`pass(?:word|phrase|wd)?`,
  String.raw`secret|token|seed|code`,
  String.raw`(?:api|access)[_-]?(?:key|code)`,
  String.raw`master[_-]?key\w*`,
].join('|')
/** A code of an error, `LA_NETWORK` or `ENOENT`, is not a secret. */
const NO_ERROR_CODE = String.raw`(?!"(?:[A-Z]{2,6}_[A-Z0-9_]+|E[A-Z0-9]+)")`
const NAMED_SECRET = new RegExp(String.raw`\b(${SECRET_WORDS})("?\s*[:=]\s*)${NO_ERROR_CODE}("[^"]*"|\S+)`, 'gi')

function withoutName(text: string, name: string, stand: string): string {
  if (name.length < LEAST_NAME) return text
  const pattern = name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return text.replaceAll(new RegExp(`(?<![\\p{L}\\p{N}])${pattern}(?![\\p{L}\\p{N}])`, 'giu'), stand)
}

/**
 * Takes out what could be secret or says who the player is: users and passwords in addresses, queries, tokens, keys and
 * anything that looks like one, the home folder, and the names of user and machine. Digests keep their first eight
 * characters, which is enough to compare them.
 */
export function redact(text: string, { home, user, host }: Private = privateNames()): string {
  let clean = text
    .replaceAll(/\b([a-z][a-z0-9+.-]*:\/\/)[^/\s"'@]*@/gi, '$1')
    .replaceAll(/\b([a-z][a-z0-9+.-]*:\/\/[^\s"'?#]*)[?#][^\s"']*/gi, '$1')
    .replaceAll(/\b(bearer|basic|authorization:|cookie:|set-cookie:)\s+\S+/gi, '$1 [removed]')
    .replaceAll(NAMED_SECRET, '$1$2[removed]')
    .replaceAll(/\b([0-9a-f]{8})[0-9a-f]{24,}\b/gi, '$1…')
    .replaceAll(/(?<![\w+/=-])(?=[\w+/-]*\d)([\w+-]{4})[\w+/-]{28,}={0,2}/g, '$1…')
    .replaceAll(/\b[\w.+-]+@[\w-]+\.[\w.-]+\b/g, '[mail]')
  if (home.length >= LEAST_NAME) clean = clean.replaceAll(home, '~').replaceAll(JSON.stringify(home).slice(1, -1), '~')
  clean = withoutName(clean, user, '[user]')
  return withoutName(clean, host, '[machine]')
}
