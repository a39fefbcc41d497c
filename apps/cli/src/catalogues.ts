import { primitivesErrors } from '@keyturn/primitives'
import type { ErrorExplanation } from '@keyturn/primitives'
import { publisherErrors } from '@keyturn/publisher'
import { cliErrors } from './errors.ts'

/** The error codes of one package. */
export interface Catalogue {
  /** `@keyturn/kel`, for instance. */
  readonly packageName: string
  /** Each code with its explanation. */
  readonly catalogue: Readonly<Record<string, ErrorExplanation>>
}

/** Where the codes of a package are: by their prefixes, so that one code loads one package. */
interface Source {
  readonly packageName: string
  readonly prefixes: readonly string[]
  load(): Promise<Catalogue['catalogue']>
}

const sources: readonly Source[] = [
  { packageName: '@keyturn/primitives', prefixes: ['PRIM'], load: () => Promise.resolve(primitivesErrors) },
  {
    packageName: '@keyturn/m2pack-format',
    prefixes: ['M2P'],
    load: async () => (await import('@keyturn/m2pack-format')).m2pErrors,
  },
  {
    packageName: '@keyturn/runtime-key',
    prefixes: ['RK'],
    load: async () => (await import('@keyturn/runtime-key')).runtimeKeyErrors,
  },
  { packageName: '@keyturn/kel', prefixes: ['KEL'], load: async () => (await import('@keyturn/kel')).kelErrors },
  {
    packageName: '@keyturn/manifest',
    prefixes: ['MAN', 'TRUST'],
    load: async () => (await import('@keyturn/manifest')).manifestErrors,
  },
  {
    packageName: '@keyturn/noise-keys',
    prefixes: ['NK'],
    load: async () => (await import('@keyturn/noise-keys')).noiseKeysErrors,
  },
  { packageName: '@keyturn/tlog', prefixes: ['TLOG'], load: async () => (await import('@keyturn/tlog')).tlogErrors },
  {
    packageName: '@keyturn/vault-kdf',
    prefixes: ['VK'],
    load: async () => (await import('@keyturn/vault-kdf')).vaultErrors,
  },
  {
    packageName: '@keyturn/keystore',
    prefixes: ['KEY'],
    load: async () => (await import('@keyturn/keystore')).keystoreErrors,
  },
  {
    packageName: '@keyturn/publisher',
    prefixes: ['CLI', 'BUILD', 'REL', 'PRJ'],
    load: () => Promise.resolve(publisherErrors),
  },
  { packageName: '@keyturn/cli', prefixes: ['CLI', 'BUILD'], load: () => Promise.resolve(ownErrors()) },
  {
    packageName: '@keyturn/install-engine',
    prefixes: ['LA'],
    load: async () => (await import('@keyturn/install-engine')).launcherErrors,
  },
  {
    packageName: '@keyturn/launcher-daemon',
    prefixes: ['LB'],
    load: async () => (await import('@keyturn/launcher-daemon/build')).launcherBuildErrors,
  },
  {
    packageName: '@keyturn/release-client',
    prefixes: ['SRV', 'UP', 'PUB', 'BLOB', 'GC'],
    load: async () => (await import('@keyturn/release-client')).serverErrors,
  },
]

/** The codes of the command line that are not those of the package below it. */
function ownErrors(): Catalogue['catalogue'] {
  return Object.fromEntries(Object.entries(cliErrors).filter(([code]) => !(code in publisherErrors)))
}

/** Loads the error codes of every package and app: one entry for each class of `docs/spec/errors.md`. */
export async function allCatalogues(): Promise<Catalogue[]> {
  return await Promise.all(sources.map(async ({ packageName, load }) => ({ packageName, catalogue: await load() })))
}

/**
 * Loads the error codes of the package that a code belongs to, by its prefix.
 *
 * @param code - `KEL_SAID`.
 * @returns `undefined` for a prefix that no package uses.
 */
export async function catalogueOf(code: string): Promise<Catalogue | undefined> {
  const among = sources.filter(({ prefixes }) => prefixes.includes(code.slice(0, code.indexOf('_'))))
  let last: Catalogue | undefined
  for (const { packageName, load } of among) {
    last = { packageName, catalogue: await load() }
    if (code in last.catalogue) return last
  }
  return last
}
