// Loaded into a program before it starts: as it ends, it writes the most memory it ever had, in bytes.
import { writeFileSync } from 'node:fs'

process.on('exit', () => {
  writeFileSync(process.env.KEYTURN_TEST_PRELOAD, String(process.resourceUsage().maxRSS * 1024))
})
