import type { AuditEntry } from '@keyturn/release-client'
import { namesOf } from '../access/tokens.ts'
import { auditEntries, auditKey } from '../audit/audit.ts'
import type { RecordReader } from '../storage/metadata-store.ts'

/** Entries that one search reads at most; its cursor goes on from there. */
const MAX_READ = 10_000
const PAGE = 1000

/** What is looked for; every member that is given has to fit. */
export interface AuditSearch {
  /** Part of the name or the id of who did it. */
  readonly actor?: string | undefined
  /** The action, or its beginning: `token.`. */
  readonly action?: string | undefined
  /** Part of any text of the entry, in any case. */
  readonly text?: string | undefined
  /** The day of the entry, `YYYY-MM-DD` in UTC. */
  readonly day?: string | undefined
  /** Only entries before this one. */
  readonly before?: number | undefined
  readonly limit: number
}

/** What was found, newest first; `cursor` is the `before` of the next search, null when nothing is left. */
export interface AuditFound {
  readonly items: readonly AuditEntry[]
  readonly names: Readonly<Record<string, string>>
  readonly cursor: string | null
}

function includes(text: string, part: string): boolean {
  return text.toLowerCase().includes(part.toLowerCase())
}

function fits(entry: AuditEntry, name: string, { actor, action, text, day }: AuditSearch): boolean {
  if (day !== undefined && !entry.at.startsWith(day)) return false
  if (action !== undefined && !entry.action.startsWith(action)) return false
  if (actor !== undefined && !includes(entry.actor, actor) && !includes(name, actor)) return false
  if (text === undefined) return true
  const texts = [entry.action, entry.target, entry.actor, name, ...Object.values(entry.facts).map(String)]
  return texts.some((each) => includes(each, text))
}

/** The sequence of the first entry after a day. Times do not fall and sequences have no gap, so a few reads find it. */
async function afterDay(records: RecordReader, day: string, last: number): Promise<number> {
  let [low, high] = [1, last + 1]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const entry = await auditEntries.get(records, auditKey(middle))
    if (entry !== undefined && entry.at.slice(0, 10) <= day) low = middle + 1
    else high = middle
  }
  return low
}

/**
 * Searches the audit log backward. A search reads a bounded number of entries, whatever is looked for; one that is not
 * over says where to go on, so a page may be empty and not the last one.
 */
export async function searchAudit(records: RecordReader, search: AuditSearch): Promise<AuditFound> {
  const [newest] = await auditEntries.list(records, { reverse: true, limit: 1 })
  let before = Math.min(search.before ?? Infinity, (newest?.value.sequence ?? 0) + 1)
  if (search.day !== undefined) before = Math.min(before, await afterDay(records, search.day, before - 1))
  const items: AuditEntry[] = []
  const names: Record<string, string> = {}
  for (let read = 0; read < MAX_READ && before > 1; read += PAGE) {
    const page = await auditEntries.list(records, { reverse: true, after: auditKey(before), limit: PAGE })
    const unknown = page.map(({ value }) => value.actor).filter((actor) => names[actor] === undefined)
    Object.assign(names, await namesOf(records, unknown))
    for (const { value } of page) {
      if (search.day !== undefined && value.at.slice(0, 10) < search.day) return found(items, names, 1)
      before = value.sequence
      if (fits(value, names[value.actor] ?? '', search)) items.push(value)
      if (items.length === search.limit) return found(items, names, before)
    }
    if (page.length < PAGE) return found(items, names, 1)
  }
  return found(items, names, before)
}

function found(items: readonly AuditEntry[], names: Readonly<Record<string, string>>, before: number): AuditFound {
  const shown = new Set(items.map(({ actor }) => actor))
  const known = Object.fromEntries(Object.entries(names).filter(([actor]) => shown.has(actor)))
  return { items, names: known, cursor: before > 1 ? String(before) : null }
}
