import type { PlayerConfig } from '../player-config.ts'
import type { Platform } from './runtimes.ts'

type Names = Pick<PlayerConfig, 'name' | 'id' | 'version'>

/** File name of the program that players start. */
export function programName({ name, id }: Names, platform: Platform): string {
  return platform === 'win-x64' ? `${name}.exe` : id
}

/** What installs the program on a platform, and its file name. */
export function installerName(
  { name, id, version }: Names,
  platform: Platform,
): { readonly kind: 'setup' | 'package'; readonly name: string } {
  return platform === 'win-x64'
    ? { kind: 'setup', name: `${name} Setup ${version}.exe` }
    : { kind: 'package', name: `${id}-${version}-${platform}.tar.gz` }
}
