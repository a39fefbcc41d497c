import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isInstalled, Terminal } from './support/terminal.ts'

const hasTmux = isInstalled('tmux', 'the terminal is not tested')
let terminal: Terminal
beforeEach(async () => {
  terminal = await Terminal.open()
})
afterEach(async () => {
  await terminal.close()
})

const home = 'echo p > p; chmod 600 p; keyturn init --home h --passphrase-file p --quiet; clear'

describe.skipIf(!hasTmux)('keyturn in a terminal', () => {
  it('asks for a passphrase twice without showing it, and takes corrections', async () => {
    await terminal.run('keyturn init --home h')
    await terminal.screen(/New passphrase:/)
    await terminal.press('sekretwortx', 'BSpace', 'Enter')
    await terminal.screen(/New passphrase again:/)
    await terminal.press('wrong', 'C-u', 'sekretwort', 'Enter')
    const text = await terminal.screen(/pin for launchers/)
    expect(text).not.toContain('sekret')
    expect(await terminal.exitCode()).toBe(0)
  })

  it('asks three times for a new passphrase that is short, or is not repeated the same: exit 2', async () => {
    await terminal.run('keyturn init --home h')
    await terminal.screen(/New passphrase:/)
    await terminal.press('a', 'Enter')
    await terminal.screen(/fewer than 8 characters/)
    await terminal.press('longenough', 'Enter')
    await terminal.screen(/again:/)
    await terminal.press('somethingelse', 'Enter')
    await terminal.screen(/differ\. Try again/)
    await terminal.press('longenough', 'Enter')
    await terminal.screen(/again:[^]*again:/)
    await terminal.press('somethingelse', 'Enter')
    await terminal.screen(/CLI_PASSPHRASE_REPEAT/)
    expect(await terminal.exitCode()).toBe(2)
  })

  it('takes a character of several bytes as one when it is deleted', async () => {
    await terminal.run('keyturn init --home h')
    for (const prompt of [/New passphrase:/, /again:/]) {
      await terminal.screen(prompt)
      await terminal.type(prompt.source === 'again:' ? 'sésameouvre' : 'sésameouvreß')
      if (prompt.source !== 'again:') await terminal.press('BSpace')
      await terminal.press('Enter')
    }
    expect(await terminal.exitCode()).toBe(0)
  })

  it('leaves at Ctrl-C in a question with exit 5, the terminal as it was', async () => {
    await terminal.run('keyturn init --home h; code=$?; stty -a > stty; (exit $code)')
    await terminal.screen(/New passphrase:/)
    await terminal.press('abc', 'C-c')
    expect(await terminal.exitCode()).toBe(5)
    expect(await terminal.screen(/CLI_INTERRUPTED/)).not.toContain('abc')
    expect(await readFile(terminal.path('stty'), 'utf8')).toMatch(/(?<!-)\bicanon\b[\s\S]*(?<!-)\becho\b/)
  })

  it('asks before a change, and changes nothing when the answer is no: exit 1', async () => {
    await terminal.run(`${home}; keyturn rotate content --home h --passphrase-file p`)
    await terminal.screen(/Rotate content key 1 to 2\? \[y\/N\]/)
    await terminal.press('n', 'Enter')
    await terminal.screen(/CLI_DECLINED/)
    expect(await terminal.exitCode()).toBe(1)
    expect(await readFile(terminal.path('h', 'home.json'), 'utf8')).not.toContain('"keyId": 2')
  })

  it('leaves at Ctrl-C in a confirmation with exit 5, nothing changed', async () => {
    await terminal.run(`${home}; keyturn rotate content --home h --passphrase-file p`)
    await terminal.screen(/\[y\/N\]/)
    await terminal.press('C-c')
    expect(await terminal.exitCode()).toBe(5)
    expect(await readFile(terminal.path('h', 'home.json'), 'utf8')).not.toContain('"keyId": 2')
  })

  it('asks for no alias in an emergency, and goes on with ROTATE alone', async () => {
    for (const [word, exit] of [
      ['rotate', 1],
      ['ROTATE', 0],
    ] as const) {
      const fresh = await Terminal.open()
      try {
        await fresh.run(`${home}; keyturn emergency rotate-now --home h --passphrase-file p`)
        expect(await fresh.screen(/Type ROTATE/)).not.toMatch(/Alias|Which/)
        await fresh.press(word, 'Enter')
        expect(await fresh.exitCode(), word).toBe(exit)
      } finally {
        await fresh.close()
      }
    }
  })

  it('colours errors in a terminal, and not with --no-color or NO_COLOR', async () => {
    await terminal.run(
      'unset NO_COLOR; keyturn explain NOPE; keyturn explain NOPE --no-color; NO_COLOR=1 keyturn explain NOPE; echo ' +
        'END',
    )
    const text = await terminal.screen(/END/)
    expect(text.match(/\u001b\[31merror:/g)).toHaveLength(1)
    expect(text.match(/error:/g)).toHaveLength(3)
  })

  it('keeps help within 80 columns, in the terminal and in a file', async () => {
    await terminal.run(
      'for noun in "" init backup "release prepare" "pack build" "rotate content"; do keyturn $noun --help; done > ' +
        'help.txt; clear; keyturn release prepare --help | tail -5; echo END',
    )
    await terminal.screen(/END/)
    const lines = (await readFile(terminal.path('help.txt'), 'utf8'))
      .split('\n')
      .filter((line) => !line.startsWith('  $ '))
    expect(lines.filter((line) => line.length > 80)).toEqual([])
  })

  it('says that there is no terminal when input comes from elsewhere: exit 2', async () => {
    await terminal.run('keyturn init --home h < /dev/null')
    await terminal.screen(/CLI_NO_TERMINAL/)
    expect(await terminal.exitCode()).toBe(2)
  })
})
