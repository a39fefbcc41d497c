import { primitivesErrors, type ErrorExplanation } from '@keyturn/primitives'
import { cliErrors } from './errors.ts'

/** The error codes of one package. */
export interface Catalogue {
  /** `@keyturn/kel`, for instance. */
  readonly packageName: string
  /** Each code with its explanation. */
  readonly catalogue: Readonly<Record<string, ErrorExplanation>>
}

/** Loads the error codes of every package and app. */
export async function allCatalogues(): Promise<Catalogue[]> {
  return [
    { packageName: '@keyturn/primitives', catalogue: primitivesErrors },
    { packageName: '@keyturn/cli', catalogue: cliErrors },
  ]
}
