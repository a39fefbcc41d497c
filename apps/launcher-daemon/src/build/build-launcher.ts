import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseTrustRoot } from '@keyturn/manifest'
import { writeFileAtomic } from '@keyturn/primitives/node'
import type { JsonObject } from '@keyturn/primitives'
import { playerConfigFaults } from '../player-config.ts'
import type { PlayerConfig } from '../player-config.ts'
import { LauncherBuildError } from './errors.ts'
import { readIcon, readPageImage } from './images.ts'
import type { PageImage } from './images.ts'
import { makeLinuxExecutable } from './linux-executable.ts'
import { makeLinuxPackage } from './linux-package.ts'
import { installerName, programName } from './made-files.ts'
import { readPlayerBundle } from './player-bundle.ts'
import type { PlayerBundle } from './player-bundle.ts'
import { NODE_VERSION, readRuntime } from './runtimes.ts'
import type { Platform, RuntimeOptions } from './runtimes.ts'
import { makeBlob } from './sea-blob.ts'
import { checkSignCommand, signFile } from './sign-file.ts'
import { makeWindowsExecutable } from './windows-executable.ts'
import { makeWindowsSetup } from './windows-setup.ts'

/** What a launcher is built from. */
export interface LauncherOptions {
  /** Everything but what the platform decides. */
  readonly config: Omit<PlayerConfig, 'schema' | 'target' | 'nodeMajor'>
  readonly platforms: readonly Platform[]
  /** Folder for the results; one subfolder for each platform. */
  readonly outputFolder: string
  readonly runtimes: RuntimeOptions
  /** `.ico`; required for Windows. */
  readonly iconFile?: string | undefined
  readonly logoFile?: string | undefined
  readonly backgroundFile?: string | undefined
  /** Command line with `{in}` and `{out}` that signs a file; without it nothing is signed. */
  readonly sign?: string | undefined
  /** Whether a setup is made for Windows and a package for Linux; default true. */
  readonly installer?: boolean | undefined
  readonly onStep?: ((text: string) => void) | undefined
  readonly signal?: AbortSignal | undefined
}

/** A file that was made. */
export interface LauncherFile {
  readonly platform: Platform
  readonly kind: 'executable' | 'setup' | 'package'
  readonly path: string
  readonly bytes: number
  readonly sha256: string
  readonly signed: boolean
}

/** What {@link buildLauncher} made. */
export interface BuiltLauncher {
  readonly files: readonly LauncherFile[]
  /** Path of `launcher.json`: hashes, sizes, versions and the packages inside. */
  readonly record: string
  /** The tree to publish on channel `launcher`. */
  readonly updateTree: string
  /** What could not be made, for people: no NSIS, nothing signed. */
  readonly warnings: readonly string[]
}

interface Assets {
  readonly icon: Uint8Array | undefined
  readonly logo: PageImage | undefined
  readonly background: PageImage | undefined
}

/**
 * Builds a studio's launcher: one executable for each platform with Node, bundle, name, server and pin inside, a
 * Windows setup, a Linux package, and the tree that keeps installed launchers up to date. The same input gives the same
 * bytes before signing.
 *
 * @throws LauncherBuildError with an `LB_*` code; nothing is written before everything has been checked.
 */
export async function buildLauncher(options: LauncherOptions): Promise<BuiltLauncher> {
  checkSignCommand(options.sign)
  const assets = await readAssets(options)
  checkConfigs(options)
  const bundle = await readPlayerBundle()
  const files: LauncherFile[] = []
  const warnings: string[] = []
  for (const platform of options.platforms)
    files.push(...(await buildPlatform({ platform, options, assets, bundle, warnings })))
  if (options.sign === undefined && options.platforms.includes('win-x64'))
    warnings.push('Nothing is signed: Windows will show players a SmartScreen warning; see --sign')
  const updateTree = join(options.outputFolder, 'update')
  await mkdir(updateTree, { recursive: true })
  await writeFileAtomic(join(updateTree, 'player.cjs'), bundle.bytes)
  const node = Number(NODE_VERSION.split('.')[0])
  await writeFileAtomic(join(updateTree, 'node.json'), Buffer.from(`${JSON.stringify({ node })}\n`))
  const record = join(options.outputFolder, 'launcher.json')
  await writeFileAtomic(record, Buffer.from(`${JSON.stringify(recordOf(options, bundle, files), null, 2)}\n`))
  return { files, record, updateTree, warnings }
}

/** Checks what players are shown and what launchers trust, for each platform. @throws LauncherBuildError. */
export function checkConfigs(options: LauncherOptions): void {
  for (const platform of options.platforms) checkConfig(configFor(options, platform))
}

/** Reads the images. @throws LauncherBuildError `LB_ICON`, `LB_IMAGE`. */
export async function readAssets(
  { platforms, iconFile, logoFile, backgroundFile }: LauncherOptions,
  { iconRequired = true }: { readonly iconRequired?: boolean } = {},
): Promise<Assets> {
  if (iconRequired && iconFile === undefined && platforms.includes('win-x64'))
    throw new LauncherBuildError('LB_ICON', 'A Windows launcher needs an icon: give --icon a .ico file')
  return {
    icon: iconFile === undefined ? undefined : await readIcon(iconFile),
    logo: logoFile === undefined ? undefined : await readPageImage(logoFile),
    background: backgroundFile === undefined ? undefined : await readPageImage(backgroundFile),
  }
}

function configFor({ config }: LauncherOptions, platform: Platform): PlayerConfig {
  const target = platform === 'win-x64' ? 'windows' : 'linux'
  return { schema: 1, ...config, target, nodeMajor: Number(NODE_VERSION.split('.')[0]) }
}

function checkConfig(config: PlayerConfig): void {
  const [fault] = playerConfigFaults(JSON.parse(JSON.stringify(config)) as JsonObject)
  if (fault === undefined) return checkPin(config.trust)
  const value = JSON.stringify(config[fault as keyof PlayerConfig])
  const code = fault === 'server' ? 'LB_SERVER' : fault === 'trust' ? 'LB_PIN' : 'LB_CONFIG'
  throw new LauncherBuildError(code, `Cannot build a launcher: ${fault} ${value} is not allowed`)
}

/** A launcher with a pin that nothing can match would never install anything. */
function checkPin(pin: string): void {
  try {
    parseTrustRoot(pin)
  } catch (cause) {
    throw new LauncherBuildError('LB_PIN', `Cannot build a launcher: the trust pin "${pin}" is malformed`, { cause })
  }
}

interface PlatformBuild {
  readonly platform: Platform
  readonly options: LauncherOptions
  readonly assets: Assets
  readonly bundle: PlayerBundle
  readonly warnings: string[]
}

async function buildPlatform(build: PlatformBuild): Promise<readonly LauncherFile[]> {
  const { platform, options, assets, bundle } = build
  const config = configFor(options, platform)
  const runtime = await readRuntime(platform, { ...options.runtimes, onStep: options.onStep, signal: options.signal })
  options.signal?.throwIfAborted()
  options.onStep?.(`Making the executable for ${platform}`)
  const blob = await blobFor(config, assets, bundle, options)
  return platform === 'win-x64'
    ? await buildWindows(build, config, runtime.bytes, blob)
    : await buildLinux(build, config, runtime.bytes, blob)
}

/** The blob is made by the same Node version on this machine. */
async function blobFor(
  config: PlayerConfig,
  assets: Assets,
  bundle: PlayerBundle,
  options: LauncherOptions,
): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'keyturn-launcher-'))
  try {
    const parts = new Map<string, Uint8Array>([
      ['bundle', bundle.bytes],
      ['player.json', Buffer.from(JSON.stringify(config))],
    ])
    for (const name of ['logo', 'background'] as const) {
      const image = assets[name]
      if (image !== undefined) parts.set(name, image.bytes)
    }
    return await makeBlob(await hostNode(options, folder), folder, { loader: bundle.loader, assets: parts })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The running Node where it is the pinned version, else the pinned one for this machine. */
async function hostNode(options: LauncherOptions, folder: string): Promise<string> {
  if (process.versions.node === NODE_VERSION) return process.execPath
  const host = `${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
  if (host !== 'linux-x64' && host !== 'linux-arm64' && host !== 'win-x64')
    throw new LauncherBuildError('LB_RUNTIME', `Launchers are built with Node ${NODE_VERSION} on this system`, {
      hint: `This is Node ${process.versions.node} on ${host}; run keyturn with Node ${NODE_VERSION}`,
    })
  const { bytes } = await readRuntime(host, options.runtimes)
  const file = join(folder, 'host-node')
  await writeFileAtomic(file, bytes, { mode: 0o755 })
  return file
}

async function buildWindows(
  { options, assets, warnings }: PlatformBuild,
  config: PlayerConfig,
  node: Uint8Array,
  blob: Uint8Array,
): Promise<readonly LauncherFile[]> {
  const icon = assets.icon as Uint8Array // readAssets() refused a Windows build without one
  const fileName = programName(config, 'win-x64')
  const unsigned = await makeWindowsExecutable(node, blob, icon, { ...config, fileName })
  const executable = await signFile(unsigned, options.sign)
  const files = [await keep(options, { platform: 'win-x64', kind: 'executable', name: fileName, bytes: executable })]
  if (options.installer === false) return files
  options.onStep?.('Making the Windows setup')
  try {
    const setup = await makeWindowsSetup({ config, executable, fileName, icon })
    const bytes = await signFile(setup, options.sign)
    files.push(await keep(options, { platform: 'win-x64', ...installerName(config, 'win-x64'), bytes }))
  } catch (error) {
    if (!(error instanceof LauncherBuildError) || error.code !== 'LB_NO_NSIS') throw error
    warnings.push(`${error.code}: ${error.message}. ${error.hint ?? ''}`)
  }
  return files
}

async function buildLinux(
  { platform, options, assets }: PlatformBuild,
  config: PlayerConfig,
  node: Uint8Array,
  blob: Uint8Array,
): Promise<readonly LauncherFile[]> {
  const executable = await makeLinuxExecutable(node, blob)
  const files = [
    await keep(options, { platform, kind: 'executable', name: programName(config, platform), bytes: executable }),
  ]
  if (options.installer === false) return files
  options.onStep?.('Packing the Linux launcher')
  const icon = assets.logo?.type === 'image/png' ? assets.logo.bytes : undefined
  const bytes = await makeLinuxPackage({ config, executable, icon })
  files.push(await keep(options, { platform, ...installerName(config, platform), bytes }))
  return files
}

interface MadeFile extends Pick<LauncherFile, 'platform' | 'kind'> {
  readonly name: string
  readonly bytes: Uint8Array
}

async function keep(
  { outputFolder, sign }: LauncherOptions,
  { platform, kind, name, bytes }: MadeFile,
): Promise<LauncherFile> {
  const folder = join(outputFolder, platform)
  await mkdir(folder, { recursive: true })
  const path = join(folder, name)
  await writeFileAtomic(path, bytes, { mode: kind === 'executable' ? 0o755 : 0o644 })
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  return { platform, kind, path, bytes: bytes.length, sha256, signed: platform === 'win-x64' && sign !== undefined }
}

function recordOf({ config }: LauncherOptions, bundle: PlayerBundle, files: readonly LauncherFile[]): JsonObject {
  const { id, name, version, server, channel } = config
  return {
    schema: 1,
    id,
    name,
    version,
    server,
    channel,
    node: NODE_VERSION,
    bundle: { sha256: bundle.sha256, bytes: bundle.bytes.length },
    files: files.map(({ platform, kind, path, bytes, sha256, signed }) => ({
      platform,
      kind,
      name: basename(path),
      bytes,
      sha256,
      signed,
    })),
    packages: bundle.packages.map((entry) => ({ ...entry })),
  }
}
