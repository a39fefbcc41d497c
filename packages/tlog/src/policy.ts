import { equalBytes } from '@keyturn/primitives'
import { TlogError } from './errors.ts'
import { MAX_NAME_BYTES, MAX_POLICY_BYTES, MAX_POLICY_ITEMS } from './limits.ts'
import { quoted, textOf } from './text.ts'
import { parseVerifierKey } from './verifier-key.ts'
import type { KeyType, VerifierKey } from './verifier-key.ts'

/** A log that a policy trusts to be a log. */
export interface PolicyLog {
  /** Its name is the origin of its checkpoints. */
  readonly key: VerifierKey
  /** Where its tiles are; `undefined` when the policy does not say. */
  readonly url: string | undefined
}

/** A witness that a policy knows. */
export interface PolicyWitness {
  /** Name within the policy. */
  readonly name: string
  readonly key: VerifierKey
  /** Where it takes checkpoints; `undefined` when the policy does not say. */
  readonly url: string | undefined
}

/** Witnesses, or groups of them, of which some must sign: those of one party, for instance. */
export interface PolicyGroup {
  readonly name: string
  /** How many of the members, at least 1. */
  readonly threshold: number
  /** Names of witnesses and of groups that are defined before this one. */
  readonly members: readonly string[]
}

/** Which logs count, which witnesses there are, and which of them must have signed: c2sp.org/tlog-policy. */
export interface Policy {
  readonly logs: readonly PolicyLog[]
  readonly witnesses: readonly PolicyWitness[]
  readonly groups: readonly PolicyGroup[]
  /** Name of a witness or a group; `none` when nobody has to sign. */
  readonly quorum: string
}

/** Fails with the number of the line. */
type Refuse = (message: string) => never

class PolicyReader {
  readonly logs: PolicyLog[] = []
  readonly witnesses: PolicyWitness[] = []
  readonly groups: PolicyGroup[] = []
  quorum: string | undefined
  readonly #used = new Set<string>()

  #isDefined(name: string): boolean {
    return [...this.witnesses, ...this.groups].some((one) => one.name === name)
  }

  #newName(name: string, refuse: Refuse): string {
    if (name === 'none' || this.#isDefined(name)) refuse(`the name ${quoted(name)} is taken`)
    if (name.length > MAX_NAME_BYTES) refuse('the name is too long')
    return name
  }

  #newKey(text: string, type: KeyType, refuse: Refuse): VerifierKey {
    const key = parseVerifierKey(text)
    if (key.type !== type) refuse(`the key of ${quoted(key.name)} is of the type ${key.type}, expected ${type}`)
    const others = [...this.logs, ...this.witnesses]
    if (others.some((other) => equalBytes(other.key.publicKey, key.publicKey))) {
      refuse(`the public key of ${quoted(key.name)} is in the policy already`)
    }
    return key
  }

  log([vkey, url, ...rest]: readonly string[], refuse: Refuse): void {
    if (vkey === undefined || rest.length > 0) return refuse('expected log <vkey> [<url>]')
    this.logs.push({ key: this.#newKey(vkey, 'note', refuse), url })
  }

  witness([name, vkey, url, ...rest]: readonly string[], refuse: Refuse): void {
    if (name === undefined || vkey === undefined || rest.length > 0) {
      return refuse('expected witness <name> <vkey> [<url>]')
    }
    this.witnesses.push({ name: this.#newName(name, refuse), key: this.#newKey(vkey, 'cosignature', refuse), url })
  }

  group([name, count, ...members]: readonly string[], refuse: Refuse): void {
    if (name === undefined || count === undefined || members.length === 0) {
      return refuse('expected group <name> all|any|<number> <name>...')
    }
    const words = new Map([
      ['all', members.length],
      ['any', 1],
    ])
    const threshold = words.get(count) ?? (/^[1-9][0-9]{0,2}$/.test(count) ? Number(count) : 0)
    if (threshold < 1 || threshold > members.length)
      refuse(`${quoted(count)} of ${members.length} members cannot be met`)
    for (const member of members) {
      if (!this.#isDefined(member)) refuse(`the member ${quoted(member)} is not defined on a line before`)
      // A witness that counted in two places could meet a threshold of two alone.
      if (this.#used.has(member)) refuse(`${quoted(member)} is a member twice`)
      this.#used.add(member)
    }
    this.groups.push({ name: this.#newName(name, refuse), threshold, members })
  }

  setQuorum([name, ...rest]: readonly string[], refuse: Refuse): void {
    if (name === undefined || rest.length > 0) return refuse('expected quorum <name>')
    if (this.quorum !== undefined) refuse('the quorum is set already')
    if (name !== 'none' && !this.#isDefined(name)) refuse(`${quoted(name)} is not defined on a line before`)
    this.quorum = name
  }

  line(line: string, refuse: Refuse): void {
    const [keyword = '', ...items] = line.split(/[ \t]+/).filter((item) => item !== '')
    if (keyword === '' || keyword.startsWith('#')) return
    if (keyword === 'log') this.log(items, refuse)
    else if (keyword === 'witness') this.witness(items, refuse)
    else if (keyword === 'group') this.group(items, refuse)
    else if (keyword === 'quorum') this.setQuorum(items, refuse)
    else refuse(`${quoted(keyword)} is not a keyword`)
    if (Math.max(this.logs.length, this.witnesses.length, this.groups.length) > MAX_POLICY_ITEMS) {
      refuse(`more than ${MAX_POLICY_ITEMS} logs, witnesses or groups`)
    }
  }
}

/**
 * Reads a policy file, c2sp.org/tlog-policy. Stricter than that in two points: it must be UTF-8, and a key may be that
 * of a log or of a witness, not of both.
 *
 * @throws {@link TlogError} `TLOG_POLICY` with the number of the line, `TLOG_VKEY`, `TLOG_LIMIT`.
 */
export function parsePolicy(bytes: Uint8Array): Policy {
  const text = textOf(bytes, MAX_POLICY_BYTES, 'policy', 'TLOG_POLICY')
  // eslint-disable-next-line no-control-regex -- control characters are what the format forbids
  if (/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text)) {
    throw new TlogError('TLOG_POLICY', 'Cannot read policy: it has control characters other than tab and newline')
  }
  if (!text.endsWith('\n')) throw new TlogError('TLOG_POLICY', 'Cannot read policy: its last line has no newline')
  const reader = new PolicyReader()
  for (const [at, line] of text.slice(0, -1).split('\n').entries()) {
    reader.line(line, (message) => {
      throw new TlogError('TLOG_POLICY', `Cannot read line ${at + 1} of policy: ${message}`, {
        details: { line: at + 1 },
      })
    })
  }
  const { logs, witnesses, groups, quorum } = reader
  if (quorum === undefined) throw new TlogError('TLOG_POLICY', 'Cannot read policy: it has no quorum line')
  return { logs, witnesses, groups, quorum }
}

/** Whether some witnesses, by their names in the policy, meet its quorum. */
export function meetsQuorum({ groups, quorum }: Policy, signed: ReadonlySet<string>): boolean {
  const met = new Set(signed)
  // A group names only what is defined before it, so one pass in order is enough.
  for (const { name, threshold, members } of groups) {
    if (members.filter((member) => met.has(member)).length >= threshold) met.add(name)
  }
  return quorum === 'none' || met.has(quorum)
}

/** Who runs a witness, as its key says: the part of its name before the first slash. */
function operatorOf({ key }: PolicyWitness): string {
  return key.name.split('/')[0] as string
}

/** How many parties a policy rests on. */
export interface PolicyStrength {
  /** Fewest operators whose witnesses meet the quorum together: as many would have to lie. 0 for `quorum none`. */
  readonly toDeceive: number
  /** Fewest operators without whose witnesses there is no quorum: as many outages stop it. */
  readonly toBlock: number
}

/** Largest number of operators whose combinations are tried; a policy that needs more is reported as this many. */
const MAX_COMBINED = 4

function combinations<T>(items: readonly T[], count: number): T[][] {
  if (count === 0) return [[]]
  return items.flatMap((item, at) => combinations(items.slice(at + 1), count - 1).map((rest) => [item, ...rest]))
}

function fewest(operators: readonly string[], holds: (some: ReadonlySet<string>) => boolean): number {
  for (let count = 0; count < Math.min(MAX_COMBINED, operators.length); count++) {
    if (combinations(operators, count).some((some) => holds(new Set(some)))) return count
  }
  return Math.min(MAX_COMBINED, operators.length)
}

/**
 * How diverse a policy is. Three witnesses of one party are one party: operators are told apart by the domain in the
 * names of their keys. Numbers above 4 are reported as 4.
 */
export function policyStrength(policy: Policy): PolicyStrength {
  const operators = [...new Set(policy.witnesses.map((witness) => operatorOf(witness)))]
  const quorumOf = (counts: (operator: string) => boolean): boolean => {
    const signed = policy.witnesses.filter((witness) => counts(operatorOf(witness)))
    return meetsQuorum(policy, new Set(signed.map(({ name }) => name)))
  }
  return {
    toDeceive: fewest(operators, (some) => quorumOf((operator) => some.has(operator))),
    toBlock: fewest(operators, (some) => !quorumOf((operator) => !some.has(operator))),
  }
}
