import { access, constants, stat } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { checkConfigs, readAssets } from './build-launcher.ts'
import type { LauncherFile, LauncherOptions } from './build-launcher.ts'
import { installerName, programName } from './made-files.ts'
import { readPlayerBundle } from './player-bundle.ts'
import { NODE_VERSION, runtimePath } from './runtimes.ts'
import type { Platform } from './runtimes.ts'
import { checkSignCommand, commandWords } from './sign-file.ts'

/** A file that would be made. */
export interface PlannedFile extends Pick<LauncherFile, 'platform' | 'kind' | 'path'> {
  /** Upper limit, where one is known before it is made. */
  readonly maxBytes: number | undefined
}

/** What a build needs and does not find. */
export interface MissingPart {
  readonly part: 'icon' | 'nsis' | 'runtime' | 'sign'
  readonly message: string
  readonly fix: string
  /** Whether the build is refused or fails without it; otherwise it makes less. */
  readonly stops: boolean
}

/** What {@link buildLauncher} would make. */
export interface LauncherPlan {
  readonly files: readonly PlannedFile[]
  readonly missing: readonly MissingPart[]
}

/**
 * Says what a build would make and what it would miss. Everything that a build checks is checked; nothing is written,
 * fetched or run.
 *
 * @param options - As for a build.
 * @param path - Folders with programs; default: those of this process.
 * @throws LauncherBuildError with an `LB_*` code, for settings that a build refuses.
 */
export async function planLauncher(
  options: LauncherOptions,
  path: string = process.env['PATH'] ?? '',
): Promise<LauncherPlan> {
  checkSignCommand(options.sign)
  const assets = await readAssets(options, { iconRequired: false })
  checkConfigs(options)
  const bundle = await readPlayerBundle()
  const images = (assets.logo?.bytes.length ?? 0) + (assets.background?.bytes.length ?? 0)
  const added = bundle.bytes.length + bundle.loader.length + images
  const files: PlannedFile[] = []
  const missing: MissingPart[] = await missingTools(options, path)
  for (const platform of options.platforms) {
    const runtime = runtimePath(platform, options.runtimes)
    const bytes = (await stat(runtime).catch(() => undefined))?.size
    if (bytes === undefined) missing.push(missingRuntime(platform, options.runtimes.files?.[platform]))
    files.push(...plannedFiles(options, platform, bytes === undefined ? undefined : bytes + added))
  }
  return { files: withoutSetup(files, missing), missing }
}

function plannedFiles(
  { config, outputFolder, installer }: LauncherOptions,
  platform: Platform,
  maxBytes: number | undefined,
): PlannedFile[] {
  const program = programName(config, platform)
  const made = installerName(config, platform)
  const folder = join(outputFolder, platform)
  return [
    { platform, kind: 'executable', path: join(folder, program), maxBytes },
    // How far an installer is compressed is known once it is made.
    ...(installer === false ? [] : [{ platform, kind: made.kind, path: join(folder, made.name), maxBytes: undefined }]),
  ]
}

/** Without NSIS a build makes no setup, and goes on. */
function withoutSetup(files: readonly PlannedFile[], missing: readonly MissingPart[]): PlannedFile[] {
  const hasNsis = missing.every(({ part }) => part !== 'nsis')
  return files.filter(({ kind }) => hasNsis || kind !== 'setup')
}

async function missingTools(
  { platforms, iconFile, installer, sign }: LauncherOptions,
  path: string,
): Promise<MissingPart[]> {
  if (!platforms.includes('win-x64')) return []
  const missing: MissingPart[] = []
  if (iconFile === undefined)
    missing.push({ part: 'icon', message: 'A Windows launcher needs an icon', fix: '--icon FILE.ico', stops: true })
  if (installer !== false && !(await isProgram('makensis', path)))
    missing.push({
      part: 'nsis',
      message: 'No Windows setup is made: makensis is not on the PATH',
      fix: 'install NSIS 3 (Debian: apt install nsis), or --no-installer',
      stops: false,
    })
  const [signer] = sign === undefined ? [] : commandWords(sign)
  if (signer === undefined)
    missing.push({
      part: 'sign',
      message: 'Nothing is signed: Windows will show players a SmartScreen warning',
      fix: "--sign 'COMMAND {in} {out}'",
      stops: false,
    })
  else if (!(await isProgram(signer, path)))
    missing.push({
      part: 'sign',
      message: `The signing command "${signer}" is not on the PATH`,
      fix: 'install it, or name it in --sign by its path',
      stops: true,
    })
  return missing
}

function missingRuntime(platform: Platform, given: string | undefined): MissingPart {
  const part = 'runtime'
  return given === undefined
    ? {
        part,
        message: `Node ${NODE_VERSION} for ${platform} is not here yet`,
        fix: 'the build fetches it with npm',
        stops: false,
      }
    : { part, message: `"${given}" is not there`, fix: `--runtime ${platform}=FILE, or leave it out`, stops: true }
}

/** Whether a program of this name or path can be started. */
async function isProgram(program: string, path: string): Promise<boolean> {
  const names = process.platform === 'win32' ? ['', '.exe', '.cmd', '.bat'].map((end) => program + end) : [program]
  const folders = /[/\\]/.test(program) ? [''] : path.split(delimiter)
  for (const file of folders.flatMap((folder) => names.map((name) => (folder === '' ? name : join(folder, name)))))
    if (
      await access(file, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return true
  return false
}
