import { existsSync, realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { nodeFileSystem } from '@keyturn/primitives/node'
import type { FileSystem } from '@keyturn/primitives/node'
import { readSettings, writeSettings } from './settings.ts'
import type { Settings } from './settings.ts'
import { makeUpdatesFolder } from './disk/disk.ts'
import { layoutOf } from './disk/layout.ts'
import type { EngineOptions } from './options.ts'
import { diskError, LauncherError } from './errors.ts'

/** What a person may say about an install; what is left out comes from its settings. */
export interface InstallFlags extends Settings {
  /** Folder of the install. */
  readonly folder: string
  /** Access code of the channel; kept for it. */
  readonly accessCode?: string | undefined
}

function layoutFor(folder: string): ReturnType<typeof layoutOf> {
  const wanted = resolve(folder)
  return layoutOf(existsSync(wanted) ? realpathSync(wanted) : wanted)
}

/**
 * The settings of an install with what was said now on top. An install belongs to the identity it was made with.
 *
 * @throws LauncherError `LA_SETTINGS` for malformed settings or another identity, `LA_USAGE` when server or trust are
 *   known from neither.
 */
export async function settingsFor(
  flags: InstallFlags,
  fs: FileSystem = nodeFileSystem,
): Promise<Settings & { readonly server: string; readonly trust: string }> {
  const { folder, accessCode, ...said } = flags
  const stored = await readSettings(fs, layoutFor(folder))
  const given = Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)) as Settings
  const merged = withAccessCode({ ...stored, ...given }, accessCode)
  const { server, trust } = merged
  if (server === undefined || trust === undefined) {
    throw new LauncherError(
      'LA_USAGE',
      `Cannot use "${folder}": nothing is installed there yet, so --server and --trust are needed`,
      {
        hint: 'The publisher prints the value of --trust with: keyturn release trust',
      },
    )
  }
  return { ...merged, server, trust }
}

/** Settings with an access code for their channel; undefined changes nothing. */
export function withAccessCode(settings: Settings, accessCode: string | undefined): Settings {
  if (accessCode === undefined) return settings
  const channel = settings.channel ?? 'stable'
  return { ...settings, accessCodes: { ...settings.accessCodes, [channel]: accessCode } }
}

/**
 * What an install remembers; empty where nothing is installed.
 *
 * @throws LauncherError `LA_SETTINGS`, `LA_PERMISSION`.
 */
export async function storedSettings(folder: string, fs: FileSystem = nodeFileSystem): Promise<Settings> {
  return await readSettings(fs, layoutFor(folder))
}

/** Engine options from settings. */
export function toEngineOptions(
  folder: string,
  settings: Settings & { readonly server: string; readonly trust: string },
): EngineOptions {
  const {
    server,
    trust,
    product,
    channel,
    target,
    groups,
    components,
    lanMirror,
    program,
    delivery,
    limit,
    lowSpace,
    linkedFolders,
    reports,
    telemetryUrlTemplate,
    runtimeKeyCache,
    accessCodes,
  } = settings
  return {
    folder,
    server,
    trust,
    product,
    channel,
    accessCode: accessCodes?.[channel ?? 'stable'],
    target,
    groups,
    components,
    lanMirror,
    program,
    delivery,
    bytesPerSecond: limit,
    lowSpace,
    linkedFolders,
    reports,
    telemetryUrlTemplate,
    runtimeKeyCache,
  }
}

/** Keeps the settings beside the install, so that the next start needs none. */
export async function keepSettings(folder: string, settings: Settings, fs: FileSystem = nodeFileSystem): Promise<void> {
  const layout = layoutFor(folder)
  try {
    await makeUpdatesFolder(fs, layout)
    const stored = await readSettings(fs, layout)
    if (JSON.stringify(stored) !== JSON.stringify(settings)) await writeSettings(fs, layout, settings)
  } catch (error) {
    throw diskError(error, 'keep the settings of the install')
  }
}
