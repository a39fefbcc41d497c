// One of two processes that append to the same log at the same time, round by round. Told a log and a round on stdin,
// it makes its own interaction over what it sees and tries to append it; it prints whether it won.
import { createInterface } from 'node:readline'
import { Kel, KelError } from '@keyturn/kel'
import { interact, seedSigner } from '@keyturn/kel/owner'
import { gitStore } from '@keyturn/kel/node'

const [repo = '', name = '', seedHex = ''] = process.argv.slice(2)
const signer = seedSigner([Uint8Array.from(Buffer.from(seedHex, 'hex'))])

for await (const line of createInterface({ input: process.stdin })) {
  const [prefix = '', sn = ''] = line.split(' ')
  const round = Number(sn)
  const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
  if (kel.state.sn !== round) {
    console.log('late')
    continue
  }
  const event = await interact(kel.state, [{ i: prefix, s: round.toString(16), d: `${name}${round}` }], signer)
  try {
    await kel.append(event.message)
    console.log(`won ${event.said}`)
  } catch (error) {
    if (!(error instanceof KelError)) throw error
    console.log(error.code)
  }
}
