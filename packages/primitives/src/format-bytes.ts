const UNITS = ['B', 'kB', 'MB', 'GB', 'TB']

/**
 * Shows a size to people: three significant digits in decimal units, `734 B`, `12.3 MB` (1 MB = 10^6 bytes).
 *
 * @param count - A count of bytes, from 0.
 */
export function formatBytes(count: number | bigint): string {
  let value = Number(count)
  let unit = 0
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000
    unit += 1
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return `${value.toFixed(digits)} ${UNITS[unit] ?? ''}`
}
