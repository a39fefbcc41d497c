/** How long a test may take that `pnpm campaign` makes hours of. */
export const patienceMs = process.env['KEYTURN_CAMPAIGN'] === undefined ? 300_000 : 24 * 3_600_000
