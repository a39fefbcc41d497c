import type { Vault } from '@keyturn/vault-kdf'

/** What the policy of a vault says of its active key, as data of a command. */
export type PolicyStatus = {
  readonly due: boolean
  readonly reasons: ('max_age' | 'max_records')[]
  /** When the key will be due by its age. */
  readonly due_at?: string
}

/** `undefined` for a vault without a policy file. */
export async function policyStatus(vault: Vault): Promise<PolicyStatus | undefined> {
  if (!vault.keys.hasPolicy) return undefined
  const { due, reasons, dueAt } = await vault.keys.rotationDue()
  return {
    due,
    reasons: reasons.map(({ rule }) => rule),
    ...(dueAt === undefined ? {} : { due_at: new Date(dueAt).toISOString() }),
  }
}

const RULES = { max_age: 'the key is old enough', max_records: 'enough records are under it' } as const

/** The same for people. */
export function policyText({ due, reasons, due_at: dueAt }: PolicyStatus): string {
  if (due) return `rotate now: ${reasons.map((rule) => RULES[rule]).join(', ')}`
  return dueAt === undefined
    ? 'the policy has a rule for records alone'
    : `next rotation by age on ${dueAt.slice(0, 10)}`
}
