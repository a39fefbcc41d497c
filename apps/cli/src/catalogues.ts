import { primitivesErrors, type ErrorExplanation } from '@keyturn/primitives'
import { cliErrors } from './errors.ts'

/** The error codes of one package. */
export interface Catalogue {
  /** `@keyturn/kel`, for instance. */
  readonly packageName: string
  /** Each code with its explanation. */
  readonly catalogue: Readonly<Record<string, ErrorExplanation>>
}

/** Loads the error codes of every package and app: one entry for each class of `docs/spec/errors.md`. */
export async function allCatalogues(): Promise<Catalogue[]> {
  const [m2pack, runtimeKey, kel, manifest, noiseKeys, vault, keystore, launcher, server] = await Promise.all([
    import('@keyturn/m2pack-format'), import('@keyturn/runtime-key'), import('@keyturn/kel'), import('@keyturn/manifest'),
    import('@keyturn/noise-keys'), import('@keyturn/vault-kdf'), import('@keyturn/keystore'),
    import('@keyturn/launcher-daemon'), import('@keyturn/release-server'),
  ])
  return [
    { packageName: '@keyturn/primitives', catalogue: primitivesErrors },
    { packageName: '@keyturn/m2pack-format', catalogue: m2pack.m2pErrors },
    { packageName: '@keyturn/runtime-key', catalogue: runtimeKey.runtimeKeyErrors },
    { packageName: '@keyturn/kel', catalogue: kel.kelErrors },
    { packageName: '@keyturn/manifest', catalogue: manifest.manifestErrors },
    { packageName: '@keyturn/noise-keys', catalogue: noiseKeys.noiseKeysErrors },
    { packageName: '@keyturn/vault-kdf', catalogue: vault.vaultErrors },
    { packageName: '@keyturn/keystore', catalogue: keystore.keystoreErrors },
    { packageName: '@keyturn/cli', catalogue: cliErrors },
    { packageName: '@keyturn/launcher-daemon', catalogue: launcher.launcherErrors },
    { packageName: '@keyturn/release-server', catalogue: server.serverErrors },
  ]
}
