// Loaded into a program before it starts: its clock is ahead by the milliseconds in the file KEYTURN_TEST_PRELOAD. The
// file is read each time, so that a server that runs follows it too.
import { readFileSync } from 'node:fs'

const RealDate = Date
const now = () => RealDate.now() + Number(readFileSync(process.env.KEYTURN_TEST_PRELOAD, 'utf8'))

globalThis.Date = class extends RealDate {
  constructor(...given) {
    if (given.length === 0) super(now())
    else super(...given)
  }

  static now() {
    return now()
  }
}
