/** An independent monitor: prints every entry that is new in a log. Run it from a timer. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { hexDecode, hexEncode, utf8Decode } from '@keyturn/primitives'
import { fetchCheckpoint, followLog, httpTileSource, parseVerifierKey, verifyCheckpoint } from '@keyturn/tlog'

const [prefix, vkey, stateFile] = process.argv.slice(2)
if (prefix === undefined || vkey === undefined || stateFile === undefined) {
  console.log('Usage: node monitor.ts LOG-ADDRESS VERIFIER-KEY STATE-FILE')
} else {
  const head = verifyCheckpoint(await fetchCheckpoint(prefix), parseVerifierKey(vkey))
  const old = existsSync(stateFile)
    ? (JSON.parse(readFileSync(stateFile, 'utf8')) as { size: number; hashes: string[] })
    : undefined
  const known = old && { size: old.size, hashes: old.hashes.map((hash) => hexDecode(hash)) }
  // Throws TLOG_CONSISTENCY when the log was rewritten, or shows this monitor another tree than the last time.
  const { entries, state } = await followLog(httpTileSource(prefix), head, known)
  for (const entry of entries) console.log(utf8Decode(entry))
  writeFileSync(stateFile, JSON.stringify({ size: state.size, hashes: state.hashes.map((hash) => hexEncode(hash)) }))
}
