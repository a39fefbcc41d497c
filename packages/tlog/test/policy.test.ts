import { describe, expect, it } from 'vitest'
import { utf8Encode } from '@keyturn/primitives'
import {
  addSignatures,
  checkProof,
  formatNote,
  formatProof,
  formatVerifierKey,
  hashLeaf,
  meetsQuorum,
  parseNote,
  parsePolicy,
  policyStrength,
  proveInclusion,
  seedNoteSigner,
  signText,
  verifyProof,
} from '../src/index.ts'
import type { KeyType } from '../src/index.ts'
import { entry, MemoryLog } from './support/memory-log.ts'

const code = (name: string): unknown => expect.objectContaining({ code: name })
const signer = (name: string, seed: number, type: KeyType = 'cosignature'): ReturnType<typeof seedNoteSigner> =>
  seedNoteSigner(name, type, new Uint8Array(32).fill(seed))
const vkey = (name: string, seed: number, type?: KeyType): string => formatVerifierKey(signer(name, seed, type).key)

const LOG = `log ${vkey('log.example/one', 1, 'note')}\n`
const TWO_PARTIES = `${LOG}
  # three of one party, two of another
witness X1 ${vkey('x.example/1', 11)}
witness X2 ${vkey('x.example/2', 12)} https://x.example/2/
witness\tX3  ${vkey('x.example/3', 13)}
group X 2 X1 X2 X3
witness Y1 ${vkey('y.example/1', 14)}
witness Y2 ${vkey('y.example/2', 15)}
group Y any Y1 Y2
group both all X Y
quorum both
`
const policy = (text: string): ReturnType<typeof parsePolicy> => parsePolicy(utf8Encode(text))

describe('policies', () => {
  it('parsePolicy() reads groups of groups, and meetsQuorum() follows them', () => {
    const two = policy(TWO_PARTIES)
    expect(two.witnesses.map(({ name }) => name)).toEqual(['X1', 'X2', 'X3', 'Y1', 'Y2'])
    expect(two.witnesses[1]?.url).toBe('https://x.example/2/')
    const met = (...names: string[]): boolean => meetsQuorum(two, new Set(names))
    expect(met('X1', 'X3', 'Y2')).toBe(true)
    expect(met('X1', 'X2', 'X3')).toBe(false)
    expect(met('X1', 'Y1', 'Y2')).toBe(false)
    expect(met()).toBe(false)
    expect(meetsQuorum(policy(`${LOG}quorum none\n`), new Set())).toBe(true)
    const one = policy(`witness a ${vkey('a.example', 20)}\nquorum a\n`)
    expect(meetsQuorum(one, new Set(['a']))).toBe(true)
  })

  it('policyStrength() counts parties, not witnesses', () => {
    expect(policyStrength(policy(TWO_PARTIES))).toEqual({ toDeceive: 2, toBlock: 1 })
    const same = [1, 2, 3].map((n) => `witness w${n} ${vkey(`one.example/${n}`, 30 + n)}\n`).join('')
    expect(policyStrength(policy(`${LOG}${same}group g 2 w1 w2 w3\nquorum g\n`))).toEqual({ toDeceive: 1, toBlock: 1 })
    const three = [1, 2, 3].map((n) => `witness w${n} ${vkey(`w${n}.example`, 30 + n)}\n`).join('')
    expect(policyStrength(policy(`${LOG}${three}group g 2 w1 w2 w3\nquorum g\n`))).toEqual({ toDeceive: 2, toBlock: 2 })
    expect(policyStrength(policy(`${LOG}quorum none\n`))).toEqual({ toDeceive: 0, toBlock: 0 })
    const six = [1, 2, 3, 4, 5, 6].map((n) => `witness w${n} ${vkey(`w${n}.example`, 30 + n)}\n`).join('')
    const all = policy(`${LOG}${six}group g all w1 w2 w3 w4 w5 w6\nquorum g\n`)
    expect(policyStrength(all), 'above 4 it is reported as 4').toEqual({ toDeceive: 4, toBlock: 1 })
  })

  it.each([
    ['no quorum', LOG],
    ['two quorums', `${LOG}quorum none\nquorum none\n`],
    ['a quorum that is not defined', `${LOG}quorum x\n`],
    ['a member that is defined later', `group g any a\nwitness a ${vkey('a.example', 20)}\nquorum g\n`],
    ['none as a member', `group g any none\nquorum g\n`],
    ['a member twice', `witness a ${vkey('a.example', 20)}\ngroup g 2 a a\nquorum g\n`],
    ['a member of two groups', `witness a ${vkey('a.example', 20)}\ngroup g any a\ngroup h any a\nquorum h\n`],
    ['a threshold of 0', `witness a ${vkey('a.example', 20)}\ngroup g 0 a\nquorum g\n`],
    ['a threshold that cannot be met', `witness a ${vkey('a.example', 20)}\ngroup g 2 a\nquorum g\n`],
    ['a threshold with a leading zero', `witness a ${vkey('a.example', 20)}\ngroup g 01 a\nquorum g\n`],
    ['a threshold named like a method', `witness a ${vkey('a.example', 20)}\ngroup g toString a\nquorum g\n`],
    ['an empty group', 'group g all\nquorum none\n'],
    ['a name twice', `witness a ${vkey('a.example', 20)}\nwitness a ${vkey('b.example', 21)}\nquorum a\n`],
    ['the name none', `witness none ${vkey('a.example', 20)}\nquorum none\n`],
    ['a key twice', `witness a ${vkey('a.example', 20)}\nwitness b ${vkey('b.example', 20)}\nquorum a\n`],
    ['a log that is its own witness', `${LOG}witness a ${vkey('a.example', 1)}\nquorum a\n`],
    ['a log with the key of a witness', `log ${vkey('a.example', 20)}\nquorum none\n`],
    ['a witness with the key of a log', `witness a ${vkey('a.example', 20, 'note')}\nquorum a\n`],
    ['an unknown keyword', `${LOG}quorum none\nthreshold 3\n`],
    ['words after the line', `${LOG}quorum none none\n`],
    ['a carriage return', `${LOG.replace('\n', '\r\n')}quorum none\n`],
    ['no newline at the end', `${LOG}quorum none`],
    ['nothing', ''],
  ])('parsePolicy() refuses %s', (_, text) => {
    expect(() => policy(text)).toThrow(code('TLOG_POLICY'))
  })

  it('parsePolicy() bounds what it reads and refuses keys that are none', () => {
    expect(() => policy(`log nothing\nquorum none\n`)).toThrow(code('TLOG_VKEY'))
    expect(() => policy(`#${'x'.repeat(70_000)}\n`)).toThrow(code('TLOG_LIMIT'))
    const many = Array.from({ length: 65 }, (_, n) => `witness w${n} ${vkey(`w${n}.example`, 100 + n)}\n`).join('')
    expect(() => policy(`${many}quorum w1\n`)).toThrow(code('TLOG_POLICY'))
  })
})

describe('proofs', () => {
  async function proved(...witnesses: readonly ReturnType<typeof signer>[]): Promise<Uint8Array> {
    const log = new MemoryLog()
    const note = parseNote(await log.append([entry(0), entry(1), entry(2)]))
    const signatures = await Promise.all(witnesses.map((each) => signText(note.text, each, 1000)))
    const checkpoint = formatNote(addSignatures(note, signatures))
    return formatProof({ index: 1, hashes: await proveInclusion(log, 1, 3), checkpoint, extra: undefined })
  }
  const [x1, x2, y1] = [signer('x.example/1', 11), signer('x.example/2', 12), signer('y.example/1', 14)]

  it('verifyProof() wants the quorum; checkProof() says whether it is met and who has signed', async () => {
    const two = policy(TWO_PARTIES)
    const full = verifyProof(await proved(x1, x2, y1), hashLeaf(entry(1)), two)
    expect(full).toMatchObject({ index: 1, size: 3, quorum: true, origin: 'log.example/one' })
    expect(full.witnesses).toEqual(['X1', 'X2', 'Y1'].map((name) => ({ name, timestamp: 1000 })))
    const partly = await proved(x1, x2)
    expect(() => verifyProof(partly, hashLeaf(entry(1)), two)).toThrow(code('TLOG_QUORUM'))
    expect(checkProof(partly, hashLeaf(entry(1)), two)).toMatchObject({ quorum: false })
    expect(() => checkProof(partly, hashLeaf(entry(2)), two)).toThrow(code('TLOG_INCLUSION'))
  })

  it('a proof from a log that the policy does not name is refused, even with all witnesses', async () => {
    const elsewhere = policy(TWO_PARTIES.replace(LOG, `log ${vkey('log.example/one', 2, 'note')}\n`))
    const proof = await proved(x1, x2, y1)
    expect(() => verifyProof(proof, hashLeaf(entry(1)), elsewhere)).toThrow(code('TLOG_SIGNATURE'))
    const none = policy(TWO_PARTIES.replace(LOG, ''))
    expect(() => verifyProof(proof, hashLeaf(entry(1)), none)).toThrow(code('TLOG_SIGNATURE'))
  })

  it('checkProof() refuses malformed files', async () => {
    const two = policy(TWO_PARTIES)
    const good = new TextDecoder().decode(await proved(x1))
    const bad = [
      good.replace('@v1', '@v2'),
      good.replace('index 1', 'index 01'),
      good.replace('index 1', 'extra x\nindex 1'),
      good.replace('index 1\n', ''),
    ]
    bad.push(good.replace('index 1\n', 'index 1\nAAAA\n'), good.replace('index', 'extra \nindex'), '')
    for (const each of bad)
      expect(() => checkProof(utf8Encode(each), hashLeaf(entry(1)), two), each).toThrow(code('TLOG_PROOF'))
    const long = good.replace('index 1', `extra ${'A'.repeat(6000)}\nindex 1`)
    expect(() => checkProof(utf8Encode(long), hashLeaf(entry(1)), two)).toThrow(code('TLOG_LIMIT'))
    const deep = good.replace('index 1\n', `index 1\n${`${'A'.repeat(43)}=\n`.repeat(64)}`)
    expect(() => checkProof(utf8Encode(deep), hashLeaf(entry(1)), two)).toThrow(code('TLOG_LIMIT'))
  })
})
