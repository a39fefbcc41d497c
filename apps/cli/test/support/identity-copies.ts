import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach } from 'vitest'
import { dataOf, keyturn } from './keyturn.ts'
import type { Outcome } from './keyturn.ts'

type Data = Record<string, unknown>

/** A named identity, made once by the program, of which each test of a file gets a copy in a folder of its own. */
export class IdentityCopies {
  readonly #root = mkdtempSync(join(tmpdir(), 'keyturn-identity-'))
  #count = 0
  #folder = ''
  /** What "id init" answered. */
  made: Data = {}

  /** For a file of tests, before its tests. */
  static use(alias: string): IdentityCopies {
    const copies = new IdentityCopies()
    beforeAll(async () => {
      writeFileSync(join(copies.#root, 'passphrase'), 'test\n', { mode: 0o600 })
      copies.made = dataOf(await copies.runIn(join(copies.#root, 'template'), 'id', 'init', '--alias', alias, '--yes'))
    })
    beforeEach(() => {
      copies.#folder = join(copies.#root, String(copies.#count++))
      mkdirSync(copies.#folder)
      cpSync(join(copies.#root, 'template'), copies.path('home'), { recursive: true })
    })
    afterAll(() => rmSync(copies.#root, { recursive: true, force: true }))
    return copies
  }

  /** A path in the folder of the test that runs; `home` there is its copy. */
  path(...parts: readonly string[]): string {
    return join(this.#folder, ...parts)
  }

  /** Writes a file into the folder of the test that runs. */
  file(name: string, content = name): string {
    writeFileSync(this.path(name), content)
    return this.path(name)
  }

  /** Runs the program on another home. */
  runIn(home: string, ...args: readonly string[]): Promise<Outcome> {
    return keyturn([...args, '--home', home, '--passphrase-file', join(this.#root, 'passphrase'), '--json'])
  }

  /** Runs the program on the copy, with every confirmation given. */
  run(...args: readonly string[]): Promise<Outcome> {
    return this.runIn(this.path('home'), ...args, '--yes')
  }

  /** What the program answers; it has to succeed. */
  async data(...args: readonly string[]): Promise<Data> {
    return dataOf(await this.run(...args))
  }
}
