import { expect, it } from 'vitest'
import * as all from '../src/index.ts'
import * as owner from '../src/owner/index.ts'
import * as witness from '../src/witness/index.ts'

it('the main entry has every name of the entries for owners and for witnesses', () => {
  expect(all).toMatchObject({ ...owner })
  expect(all).toMatchObject({ ...witness })
})
