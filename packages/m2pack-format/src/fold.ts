import { requireText } from '@keyturn/primitives'
/** A letter without dot that the full case folding leaves alone, though it has an upper case: `ı`. */
const DOTLESS_I = '\u0131'

const NOT_ASCII = /[^\0-\x7f]/

/** Cherokee folds to upper case, the other way round from every other script. */
function isSmallCherokee(codePoint: number): boolean {
  return (codePoint >= 0x13f8 && codePoint <= 0x13fd) || (codePoint >= 0xab70 && codePoint <= 0xabbf)
}

/**
 * Full case folding (statuses C and F of Unicode's CaseFolding.txt) of one character. It is the lower case of the
 * upper case of the lower case, but for the two exceptions above; a test holds it against the whole of that file.
 */
function foldCharacter(character: string): string {
  if (character === DOTLESS_I) return character
  const folded = character.toLowerCase().toUpperCase().toLowerCase()
  return isSmallCherokee(folded.codePointAt(0) ?? 0) ? folded.toUpperCase() : folded
}

/**
 * What a name is compared by where case does not count: NFC of the full case folding, docs/spec/m2pack.md §4. Locale
 * plays no part. Folding of assigned characters never changes in Unicode, so runtimes with older and newer tables
 * agree.
 */
export function foldName(name: string): string {
  requireText(name, 'name')
  if (!NOT_ASCII.test(name)) return name.toLowerCase()
  let folded = ''
  for (const character of name) folded += foldCharacter(character)
  return folded.normalize('NFC')
}
