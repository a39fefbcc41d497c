import { utf8Decode, wipe } from '@keyturn/primitives'
import { VaultError } from './errors.ts'
import { utf8 } from './length-prefixed.ts'

const MAX_PASSPHRASE_BYTES = 4096
const BYTE_ORDER_MARK = '\uFEFF'
const LF = 0x0a
const CR = 0x0d

/**
 * The one form of a passphrase, for prompt, file, descriptor and call alike: text without byte order mark and without
 * the line end it may bring, in normal form C, as UTF-8. So é is é however a keyboard or an editor writes it. Bytes
 * that are not UTF-8 stay as they are.
 *
 * @returns A fresh copy; the caller wipes it.
 */
export function passphraseBytes(passphrase: string | Uint8Array): Uint8Array {
  const text = textOf(passphrase)
  return text === undefined ? copyOf(passphrase) : utf8(canonical(text))
}

/**
 * Every form under which an earlier version may have sealed what this passphrase opens, {@link passphraseBytes} first:
 * the bytes as they came, decomposed letters, and the part before a CR, where the library used to cut. Write with the
 * first, open with any; see {@link findKek}.
 *
 * @returns Fresh copies, each once; the caller wipes them.
 */
export function passphraseForms(passphrase: string | Uint8Array): readonly Uint8Array[] {
  const raw = copyOf(passphrase)
  const text = textOf(passphrase)
  const forms = [passphraseBytes(passphrase), raw]
  if (text !== undefined) {
    forms.push(utf8(text.normalize('NFC')), utf8(canonical(text).normalize('NFD')))
    forms.push(utf8(text.split(/[\r\n]/, 1)[0] ?? ''))
  }
  const seen = new Set<string>()
  return forms.filter((form) => {
    const name = String.fromCharCode(...form)
    const isNew = form.length > 0 && !seen.has(name)
    seen.add(name)
    if (!isNew) wipe(form)
    return isNew
  })
}

/**
 * Checks what a file, a descriptor or a prompt gave: one line of text, 1 to 4,096 bytes. Readers of passphrases use
 * this, so that all of them accept and refuse the same.
 *
 * @param bytes - As they were read; neither kept nor modified.
 * @returns A fresh copy without the line end, for any call that takes a passphrase; the caller wipes it.
 * @throws VaultError `VK_PASSPHRASE_FORM`; `details.problem` is `empty`, `lines`, `nul` or `long`.
 */
export function passphraseInput(bytes: Uint8Array): Uint8Array {
  const line = new Uint8Array(withoutLineEnd(bytes)) // slice() of a Buffer would not copy
  const form = passphraseBytes(line)
  const problem = problemOf(line, form.length)
  wipe(form)
  if (problem === undefined) return line
  wipe(line)
  throw refusal(problem)
}

type Problem = keyof typeof PROBLEMS

const PROBLEMS = {
  empty: { message: 'The passphrase is empty', hint: 'Give one line with the passphrase' },
  lines: {
    message: 'The passphrase has more than one line',
    hint: 'Keep the passphrase alone in its file, on one line',
  },
  nul: {
    message: 'The passphrase has a NUL byte, as text in UTF-16 does',
    hint: 'Save the file as UTF-8',
  },
  long: {
    message: `The passphrase is over ${MAX_PASSPHRASE_BYTES} bytes`,
    hint: 'Check that this is the file of the passphrase',
  },
} as const

function problemOf(line: Uint8Array, formBytes: number): Problem | undefined {
  if (formBytes === 0) return 'empty'
  if (line.length > MAX_PASSPHRASE_BYTES) return 'long'
  if (line.includes(0)) return 'nul'
  return line.includes(LF) ? 'lines' : undefined
}

function refusal(problem: Problem): VaultError {
  const { message, hint } = PROBLEMS[problem]
  return new VaultError('VK_PASSPHRASE_FORM', message, { details: { problem }, hint })
}

function withoutLineEnd(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  if (bytes[end - 1] === LF) end -= 1
  if (bytes[end - 1] === CR) end -= 1
  return bytes.subarray(0, end)
}

function canonical(text: string): string {
  const start = text.startsWith(BYTE_ORDER_MARK) ? 1 : 0
  return text
    .slice(start)
    .replace(/\r?\n$|\r$/, '')
    .normalize('NFC')
}

/** Text of a passphrase; `undefined` for bytes that are not UTF-8. */
function textOf(passphrase: string | Uint8Array): string | undefined {
  if (typeof passphrase === 'string') return passphrase
  try {
    return utf8Decode(passphrase)
  } catch {
    return undefined // bytes of chance, or another encoding: they mean themselves
  }
}

function copyOf(passphrase: string | Uint8Array): Uint8Array {
  return typeof passphrase === 'string' ? utf8(passphrase) : new Uint8Array(passphrase)
}
