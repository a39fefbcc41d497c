/** Throws unless a program came to what it expects. */
export function expect(what, condition) {
  if (!condition) throw new Error(`${what}: not so`)
}

/** The code of the error that a call ends with. */
export async function codeOf(call) {
  try {
    await call()
    return 'no error'
  } catch (error) {
    return error.code ?? error.name
  }
}

export const bytes = (text) => new TextEncoder().encode(text)
export const text = (given) => new TextDecoder().decode(given)
