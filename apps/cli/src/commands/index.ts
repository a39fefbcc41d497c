import type { Command } from 'commander'
import type { Cli } from '../command.ts'

/** Adds the commands of a noun to the program. */
export type Register = (program: Command, cli: Cli) => void

/** A noun of the command line; its module is loaded only when it is used. */
export interface Noun {
  /** First word after `keyturn`. */
  readonly name: string
  /** Heading in `keyturn --help`. */
  readonly group: 'Every day' | 'Keys' | 'Emergencies' | 'Tools'
  /** Line in `keyturn --help`. */
  readonly summary: string
  /** Loads the module that registers it. */
  load(): Promise<Register>
}

/** Every noun, in the order of `keyturn --help`. A new one is one line here and one file beside. */
export const nouns: readonly Noun[] = [
  {
    name: 'init',
    group: 'Every day',
    summary: 'create the home folder: keystore, release identity, keys, role document 1',
    load: async () => (await import('./init.ts')).registerInit,
  },
  {
    name: 'pack',
    group: 'Every day',
    summary: 'build, verify, list, extract and rewrap .m2p archives',
    load: async () => (await import('./pack/index.ts')).registerPack,
  },
  {
    name: 'ship',
    group: 'Every day',
    summary: 'pack, prepare, sign, offer and publish the client in one command',
    load: async () => (await import('./ship.ts')).registerShip,
  },
  {
    name: 'release',
    group: 'Every day',
    summary: 'release tree, manifest, signature, head, server',
    load: async () => (await import('./release/index.ts')).registerRelease,
  },
  {
    name: 'channel',
    group: 'Every day',
    summary: 'channels on the server: protect one with an access code',
    load: async () => (await import('./channel/index.ts')).registerChannel,
  },
  {
    name: 'project',
    group: 'Every day',
    summary: 'the project file keyturn.json: what a release is made of',
    load: async () => (await import('./project/index.ts')).registerProject,
  },
  {
    name: 'ci',
    group: 'Every day',
    summary: 'a sealed home for build machines, without the identity',
    load: async () => (await import('./ci/index.ts')).registerCi,
  },
  {
    name: 'update',
    group: 'Every day',
    summary: 'bring an install to the newest release',
    load: async () => (await import('./update.ts')).registerUpdate,
  },
  {
    name: 'launch',
    group: 'Every day',
    summary: 'update if possible, then start the client with its key',
    load: async () => (await import('./launch.ts')).registerLaunch,
  },
  {
    name: 'repair',
    group: 'Every day',
    summary: 'verify every byte of an install and fetch what is wrong',
    load: async () => (await import('./repair.ts')).registerRepair,
  },
  {
    name: 'status',
    group: 'Every day',
    summary: 'every key: age, state, when it is due; releases per channel',
    load: async () => (await import('./status.ts')).registerStatus,
  },
  {
    name: 'doctor',
    group: 'Every day',
    summary: 'prove that keys, log, releases, archives and server belong together',
    load: async () => (await import('./doctor.ts')).registerDoctor,
  },
  {
    name: 'rotate',
    group: 'Keys',
    summary: 'rotate a key: content, identity, release, head, transport, vault, or all that are due',
    load: async () => (await import('./rotate/index.ts')).registerRotate,
  },
  {
    name: 'id',
    group: 'Keys',
    summary: 'identities and their key event logs: create, show, check, rotate',
    load: async () => (await import('./id/index.ts')).registerId,
  },
  {
    name: 'roles',
    group: 'Keys',
    summary: 'who may sign: role documents sealed by the identity',
    load: async () => (await import('./roles/index.ts')).registerRoles,
  },
  {
    name: 'noise',
    group: 'Keys',
    summary: 'transport keys: derive, publish, rotate, revoke, look up, audit',
    load: async () => (await import('./noise/index.ts')).registerNoise,
  },
  {
    name: 'vault',
    group: 'Keys',
    summary: 'secrets at rest under a master key that can be rotated: seal, open, rotate, sweep, retire, audit',
    load: async () => (await import('./vault/index.ts')).registerVault,
  },
  {
    name: 'device',
    group: 'Keys',
    summary: 'link, list and revoke devices that speak for the identity',
    load: async () => (await import('./device/index.ts')).registerDevice,
  },
  {
    name: 'unlock',
    group: 'Keys',
    summary: 'unlock the keys for a while: no passphrase is asked for meanwhile',
    load: async () => (await import('./unlock.ts')).registerUnlock,
  },
  {
    name: 'lock',
    group: 'Keys',
    summary: 'lock the keys again',
    load: async () => (await import('./lock.ts')).registerLock,
  },
  {
    name: 'passphrase',
    group: 'Keys',
    summary: 'put everything that your passphrase opens under another one',
    load: async () => (await import('./passphrase.ts')).registerPassphrase,
  },
  {
    name: 'backup',
    group: 'Keys',
    summary: 'seal the whole home into one file, and read it back',
    load: async () => (await import('./backup.ts')).registerBackup,
  },
  {
    name: 'restore',
    group: 'Keys',
    summary: 'restore a home folder from a backup',
    load: async () => (await import('./restore.ts')).registerRestore,
  },
  {
    name: 'sign',
    group: 'Keys',
    summary: 'sign a file or a commit; the signature names its place in the log',
    load: async () => (await import('./sign.ts')).registerSign,
  },
  {
    name: 'verify',
    group: 'Keys',
    summary: 'verify a signature at its place in the log',
    load: async () => (await import('./verify.ts')).registerVerify,
  },
  {
    name: 'emergency',
    group: 'Emergencies',
    summary: 'a key may be stolen: rotate now, freeze, unfreeze, report',
    load: async () => (await import('./emergency/index.ts')).registerEmergency,
  },
  {
    name: 'drill',
    group: 'Emergencies',
    summary: 'practise a theft or a loss on a shadow product, and report how long it took',
    load: async () => (await import('./drill.ts')).registerDrill,
  },
  {
    name: 'demo',
    group: 'Tools',
    summary: 'the whole story on this machine: publish, install, rotate keys, and reject forged releases',
    load: async () => (await import('./demo.ts')).registerDemo,
  },
  {
    name: 'serve',
    group: 'Tools',
    summary: 'run the release server on embedded storage',
    load: async () => (await import('./serve.ts')).registerServe,
  },
  {
    name: 'launcher',
    group: 'Tools',
    summary: 'build the launcher that players double-click, and keep it up to date',
    load: async () => (await import('./launcher/index.ts')).registerLauncher,
  },
  {
    name: 'explain',
    group: 'Tools',
    summary: 'say what an error code means and what to do',
    load: async () => (await import('./explain.ts')).registerExplain,
  },
  {
    name: 'mcp',
    group: 'Tools',
    summary: 'the same commands as tools of an MCP server over stdio',
    load: async () => (await import('./mcp.ts')).registerMcp,
  },
  {
    name: 'completion',
    group: 'Tools',
    summary: 'print a completion script for your shell',
    load: async () => (await import('./completion.ts')).registerCompletion,
  },
]
