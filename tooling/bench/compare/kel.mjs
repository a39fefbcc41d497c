/** Key event logs beside signify-ts, which makes events and leaves verifying to its agent. */
import { verifyLog } from '@keyturn/kel'
import { incept, rotate, seedSigner } from '@keyturn/kel/owner'
import { concatBytes, systemRandom } from '@keyturn/primitives'
import { asBytes, cpuRow, peer, row } from './measure.mjs'

const [OURS, SIGNIFY] = ['kel', 'signify-ts']
const ROTATIONS = 10
const signify = await peer('signify-ts')
await signify?.ready()

const seeds = Array.from({ length: ROTATIONS + 2 }, () => systemRandom(32))

async function ourLog() {
  const signers = seeds.map((seed) => seedSigner([seed]))
  let event = await incept({ keys: signers[0].publicKeys, nextKeys: signers[1].publicKeys }, signers[0])
  const messages = [event.message]
  for (let at = 1; at <= ROTATIONS; at += 1) {
    const change = { keys: signers[at].publicKeys, nextKeys: signers[at + 1].publicKeys }
    event = await rotate(event.state, change, signers[at])
    messages.push(event.message)
  }
  return concatBytes(...messages)
}

function theirLog() {
  const signers = seeds.map((raw) => new signify.Signer({ raw, transferable: true }))
  const digest = (at) => new signify.Diger({ code: signify.MtrDex.Blake3_256 }, signers[at].verfer.qb64b).qb64
  const first = signify.incept({
    keys: [signers[0].verfer.qb64],
    ndigs: [digest(1)],
    isith: '1',
    nsith: '1',
    code: signify.MtrDex.Blake3_256,
    wits: [],
    toad: 0,
  })
  signers[0].sign(Buffer.from(first.raw), 0)
  let last = first
  for (let at = 1; at <= ROTATIONS; at += 1) {
    last = signify.rotate({
      pre: first.pre,
      keys: [signers[at].verfer.qb64],
      dig: last.sad.d,
      sn: at,
      isith: '1',
      nsith: '1',
      ndigs: [digest(at + 1)],
      wits: [],
      cuts: [],
      adds: [],
      toad: 0,
    })
    signers[at].sign(Buffer.from(last.raw), 0)
  }
}

const log = await ourLog()
await cpuRow(
  'make an identity and rotate it ten times',
  { [OURS]: async () => void (await ourLog()), [SIGNIFY]: signify && theirLog },
  { times: 10 },
)
await cpuRow('verify that log, all or nothing', { [OURS]: () => void verifyLog(log) }, { times: 20 })
row('bytes of that log', { [OURS]: asBytes(log.length) })
