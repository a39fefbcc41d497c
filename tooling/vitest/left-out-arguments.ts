/** Tests that a public call, made from plain JavaScript with an argument left out, names that argument. */
import { expect, it } from 'vitest'

/** A call with one argument left out, and the name that the error has to say. */
export type LeftOut = readonly [call: string, argument: string, run: (nothing: never) => unknown]

/** One test for each call: it fails at once with a TypeError that begins with the argument's name. */
export function namesLeftOutArguments(calls: readonly LeftOut[]): void {
  it.each(calls)('%s without %s: a TypeError that names it', async (_call, argument, run) => {
    const error = await Promise.resolve()
      .then(() => run(undefined as never))
      .then(
        () => 'no error',
        (thrown: unknown) => thrown,
      )
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toMatch(new RegExp(`^${argument} must `))
  })
}
