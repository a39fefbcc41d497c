import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { sha256, utf8Encode } from '@keyturn/primitives'
import { parseSnapshot, verifyLog, verifyStatement } from '../src/index.ts'

function golden(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`golden/${name}`, import.meta.url)))
}

it('files of every released format version open', () => {
  const log = verifyLog(golden('log.cesr'))
  expect(log.state).toMatchObject({ sn: 2, type: 'rot' })
  expect(parseSnapshot(golden('snapshot-1.json')).establishment.said).toBe(log.state.said)
  expect(verifyStatement(golden('statement-1.sig'), sha256(utf8Encode('golden\n')), log)).toMatchObject({
    position: 'current',
  })
})
