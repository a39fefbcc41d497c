const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/**
 * A size as every part of Keyturn shows it: three significant digits in decimal units. The page is served as it is and
 * imports no package, so the rule of `formatBytes` is here a second time, with the digits of the language.
 *
 * @param count - Bytes, from 0.
 * @param language - Whose decimal sign it gets.
 */
export function sizeText(count: number, language: string): string {
  let value = count
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  const places = { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false }
  // Both ways to write a number round a half of their own: rounded once, they agree.
  return `${Number(value.toFixed(digits)).toLocaleString(language, places)} ${UNITS[unit] ?? ''}`
}

/** A time in the units that people say: hours and minutes, minutes and seconds, or seconds. */
export function durationParts(seconds: number): readonly (readonly ['hours' | 'minutes' | 'seconds', number])[] {
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60]
  if (hours > 0)
    return [
      ['hours', hours],
      ['minutes', minutes],
    ]
  if (minutes === 0) return [['seconds', rest]]
  return [
    ['minutes', minutes],
    ['seconds', rest],
  ]
}
