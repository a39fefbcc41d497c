import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { hexEncode } from '@keyturn/primitives'
import { Kel } from '../src/index.ts'
import { gitStore } from '../src/node/index.ts'
import { Actor, seed } from './support/actors.ts'

// The default is short; `pnpm campaign` runs 1,000 rounds.
const rounds = Number(process.env['KEL_RACE_ROUNDS'] ?? 30)
const roundsPerLog = 25
const racer = fileURLToPath(new URL('./support/git-racer.ts', import.meta.url))

class Racer {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(repo: string, name: string) {
    this.#child = spawn(process.execPath, ['--no-warnings', racer, repo, name, hexEncode(seed(0))], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]()
  }

  async append(prefix: string, round: number): Promise<string> {
    this.#child.stdin!.write(`${prefix} ${round}\n`)
    return (await this.#lines.next()).value as string
  }

  end(): void {
    this.#child.stdin!.end()
  }
}

it(`two processes append at once, ${rounds} rounds: one wins, the other gets a conflict, nothing is lost (row 139)`, async () => {
  const repo = mkdtempSync(join(tmpdir(), 'kel-race-'))
  const racers = [new Racer(repo, 'left'), new Racer(repo, 'right')]
  try {
    execFileSync('git', ['-C', repo, 'init', '--quiet', '--bare'])
    const answers: Record<string, number> = {}
    for (let done = 0; done < rounds;) {
      const actor = await Actor.start(0, { seals: [{ d: `log ${done}` }] })
      const { prefix } = actor.state
      await (await Kel.open(gitStore(repo).log(prefix), prefix)).append(actor.messages[0]!)
      const won: string[] = []
      for (let round = 0; round < roundsPerLog && done < rounds; round++, done++) {
        const results = await Promise.all(racers.map((one) => one.append(prefix, round)))
        for (const result of results) {
          const [word = '', said] = result.split(' ')
          answers[word] = (answers[word] ?? 0) + 1
          if (said !== undefined) won.push(said)
        }
        expect(results.filter((result) => result.startsWith('won'))).toHaveLength(1)
      }
      const kel = await Kel.open(gitStore(repo).log(prefix), prefix)
      expect(kel.events.slice(1).map(({ said }) => said)).toEqual(won)
    }
    expect(answers['won']).toBe(rounds)
    // "late" looked after the other had won: it would have signed the next round.
    expect((answers['KEL_CONFLICT'] ?? 0) + (answers['late'] ?? 0)).toBe(rounds)
    if (rounds >= 1000) expect(answers['KEL_CONFLICT'] ?? 0).toBeGreaterThan(rounds / 10)
    console.info(`git race: ${JSON.stringify(answers)}`)
  } finally {
    for (const one of racers) one.end()
    rmSync(repo, { recursive: true })
  }
}, 1_800_000)
