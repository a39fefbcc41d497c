const PARTS = /^v?([0-9]{1,9}(?:\.[0-9]{1,9}){0,3})/

function numbers(version: string): number[] {
  return (PARTS.exec(version)?.[1] ?? '0').split('.').map(Number)
}

/** Orders two launcher versions by their leading numbers: 1.10.0 after 1.9; what follows the numbers does not count. */
export function compareLauncherVersions(left: string, right: string): number {
  const [a, b] = [numbers(left), numbers(right)]
  for (let index = 0; index < 4; index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
