const SECONDS = /^([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z$/

/**
 * Milliseconds since 1970 of `YYYY-MM-DDTHH:MM:SSZ`, or undefined for any other text and for dates that do not exist.
 */
export function parseTime(text: string): number | undefined {
  if (!SECONDS.test(text)) return undefined
  const timeMs = Date.parse(text)
  // Date.parse lets 30 February pass as 1 March: only what prints back the same exists.
  return Number.isNaN(timeMs) || formatTime(timeMs) !== text ? undefined : timeMs
}

/** `YYYY-MM-DDTHH:MM:SSZ` of a time, fractions of a second cut off. */
export function formatTime(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19)}Z`
}
