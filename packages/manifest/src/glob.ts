function matchPart(pattern: string, part: string): boolean {
  let [p, t, star, mark] = [0, 0, -1, 0]
  // The classic two-pointer walk: linear per part, no backtracking stack to blow up.
  while (t < part.length) {
    if (p < pattern.length && (pattern[p] === '?' || (pattern[p] !== '*' && pattern[p] === part[t]))) {
      p++
      t++
    } else if (p < pattern.length && pattern[p] === '*') {
      star = p++
      mark = t
    } else if (star >= 0) {
      p = star + 1
      t = ++mark
    } else {
      return false
    }
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

function matchParts(patterns: readonly string[], parts: readonly string[]): boolean {
  let [p, t, star, mark] = [0, 0, -1, 0]
  while (t < parts.length) {
    const pattern = patterns[p]
    if (pattern === '**') {
      star = p++
      mark = t
    } else if (pattern !== undefined && matchPart(pattern, parts[t] as string)) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++mark
    } else {
      return false
    }
  }
  while (patterns[p] === '**') p++
  return p === patterns.length
}

/**
 * Whether a path fits a glob of a manifest's `keep`: `*` and `?` within one part, `**` for any number of parts, case
 * not told apart. A glob without a slash fits a name in any folder.
 */
export function matchesGlob(glob: string, path: string): boolean {
  const pattern = glob.toLowerCase()
  // Trees have many files, and most globs are of names: only these are looked at.
  if (!pattern.includes('/')) return matchPart(pattern, path.slice(path.lastIndexOf('/') + 1).toLowerCase())
  return matchParts(pattern.split('/'), path.toLowerCase().split('/'))
}
