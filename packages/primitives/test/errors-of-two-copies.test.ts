import { expect, it } from 'vitest'
import { KeyturnError, PrimitivesError } from '../src/errors.ts'

it('KeyturnError recognizes an error of another copy of this package, and nothing else', async () => {
  const copy = (await import(
    /* @vite-ignore */ `../src/errors.ts?copy=${'other'}`
  )) as typeof import('../src/errors.ts')
  const other = new copy.PrimitivesError('PRIM_LOCKED', 'Locked')
  expect(copy.KeyturnError).not.toBe(KeyturnError)
  expect(other instanceof KeyturnError).toBe(true)
  expect(other instanceof PrimitivesError).toBe(false)
  expect(new PrimitivesError('PRIM_LOCKED', 'Locked') instanceof KeyturnError).toBe(true)
  for (const value of [new Error('no'), { code: 'PRIM_LOCKED', kind: 'busy' }, null, undefined, 'PRIM_LOCKED'])
    expect(value instanceof KeyturnError).toBe(false)
})
