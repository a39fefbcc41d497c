import { execFile, execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** What `install.sh` and the shell scripts of a small game call. */
const PROGRAMS = ['sh', 'cat', 'chmod', 'cp', 'dirname', 'gzip', 'mkdir', 'mv', 'rm', 'sed', 'tar'] as const

/** A system without Node: a root folder with a shell, a few tools and the libraries that they and `executable` load. */
export interface BareRoot {
  readonly folder: string
  /** Runs a program inside, with nothing of this process's environment. */
  run(program: string, args: readonly string[]): Promise<{ stdout: string; stderr: string }>
  /** Starts one inside. */
  start(program: string, args: readonly string[]): ChildProcess
  remove(): void
}

/** Libraries that a program loads, and the loader that loads them. */
function librariesOf(program: string): string[] {
  const listed = execFileSync('ldd', [program], { encoding: 'utf8' })
  return [...listed.matchAll(/(\/\S+)\s+\(0x/g)].map((match) => match[1] as string)
}

function findProgram(name: string): string | undefined {
  return ['/bin', '/usr/bin'].map((folder) => join(folder, name)).find((path) => existsSync(path))
}

/**
 * Makes one by hand, from this machine's own files.
 *
 * @returns It, or the reason why it cannot be made here.
 */
export function bareRoot(executable: string): BareRoot | { readonly reason: string } {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    return { reason: 'only root on Linux may change the root' }
  const programs = PROGRAMS.map(findProgram)
  const missing = PROGRAMS.filter((_, index) => programs[index] === undefined)
  if (missing.length > 0 || !canChangeRoot())
    return { reason: `no unshare with chroot here; missing: ${missing.join(' ')}` }
  const folder = mkdtempSync(join(tmpdir(), 'keyturn-root-'))
  for (const name of ['bin', 'dev', 'home/ana', 'proc', 'tmp']) mkdirSync(join(folder, name), { recursive: true })
  for (const program of programs as string[])
    copyFileSync(realpathSync(program), join(folder, 'bin', basename(program)))
  for (const library of [...(programs as string[]), executable].flatMap(librariesOf)) {
    mkdirSync(join(folder, dirname(library)), { recursive: true })
    copyFileSync(realpathSync(library), join(folder, library))
  }
  // Its own mounts end with the process: nothing has to be unmounted.
  const inside = (program: string, args: readonly string[]): string[] => [
    '--mount',
    'sh',
    '-c',
    'mount -t proc proc "$1/proc" && touch "$1/dev/null" && mount --bind /dev/null "$1/dev/null" && shift && exec "$@"',
    'sh',
    folder,
    'chroot',
    folder,
    program,
    ...args,
  ]
  const env = { HOME: '/home/ana', PATH: '/bin' }
  // The tools that make the root are this machine's; what runs inside finds its own.
  const outer = { env: { ...env, PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } }
  const call = (program: string, args: readonly string[]) =>
    inside('/bin/sh', ['-c', 'PATH=/bin; exec "$@"', 'sh', program, ...args])
  return {
    folder,
    run: async (program, args) => await run('unshare', call(program, args), outer),
    start: (program, args) => spawn('unshare', call(program, args), { ...outer, stdio: 'ignore' }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function canChangeRoot(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'chroot', '/', '/bin/sh', '-c', ':'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
