import { expect, it, vi } from 'vitest'
import { Ask } from '../src/ask.ts'

const ask = new Ask({
  passphraseFile: undefined,
  passphraseFd: undefined,
  yes: false,
  signal: new AbortController().signal,
})

it.each([
  ['a confirmation', () => ask.confirm('Ship it?'), '--yes'],
  ['a word', () => ask.typed('ROTATE', 'Now?'), '--yes'],
  ['a passphrase', () => ask.passphrase('Passphrase'), '--passphrase-file'],
  ['a new passphrase', () => ask.newPassphrase('New passphrase', undefined), '--passphrase-file'],
])(
  'without a terminal, names the flag that answers %s, and no other (CLI_NO_TERMINAL)',
  async (_what, question, flag) => {
    const error: unknown = await Promise.resolve(question()).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'CLI_NO_TERMINAL', hint: expect.stringContaining(flag) })
    const other = flag === '--yes' ? '--passphrase' : '--yes'
    expect((error as { hint: string }).hint).not.toContain(other)
  },
)

it.each(['', ' ', 'n', 'no', 'yess', 'of course'])(
  'takes "%s" for a no: nothing is confirmed (CLI_DECLINED)',
  async (answer) => {
    const asked = new Ask({
      passphraseFile: undefined,
      passphraseFd: undefined,
      yes: false,
      signal: new AbortController().signal,
    })
    asked.line = () => Promise.resolve(answer)
    await expect(asked.confirm('Ship it?')).rejects.toMatchObject({ code: 'CLI_DECLINED' })
  },
)

it.each(['y', 'yes', ' YES '])('takes "%s" for a yes', async (answer) => {
  const asked = new Ask({
    passphraseFile: undefined,
    passphraseFd: undefined,
    yes: false,
    signal: new AbortController().signal,
  })
  asked.line = () => Promise.resolve(answer)
  await asked.confirm('Ship it?')
})

it('shows no control characters of a name that is part of a question', async () => {
  const written: string[] = []
  const isTerminal = Object.getOwnPropertyDescriptor(process.stdin, 'isTTY')
  Object.defineProperty(process.stdin, 'isTTY', { value: true, configurable: true })
  const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    written.push(String(text))
    return true
  })
  try {
    const stopped = { passphraseFile: undefined, passphraseFd: undefined, yes: false, signal: AbortSignal.abort() }
    await expect(new Ask(stopped).confirm('Remove "\u001b[2Ka\u202eb" for good?')).rejects.toThrow(/abort/i)
  } finally {
    write.mockRestore()
    if (isTerminal === undefined) Reflect.deleteProperty(process.stdin, 'isTTY')
    else Object.defineProperty(process.stdin, 'isTTY', isTerminal)
  }
  expect(written.join('')).toBe('Remove "\\u{1b}[2Ka\\u{202e}b" for good? [y/N] ')
})
