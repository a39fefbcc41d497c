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
    summary: 'prepare, sign, offer, publish and compare releases, step by step',
    load: async () => (await import('./release/index.ts')).registerRelease,
  },
  {
    name: 'channel',
    group: 'Every day',
    summary: 'protect a channel on the server with an access code, or open it again',
    load: async () => (await import('./channel/index.ts')).registerChannel,
  },
  {
    name: 'project',
    group: 'Every day',
    summary: 'write the project file keyturn.json: what a release is made of',
    load: async () => (await import('./project/index.ts')).registerProject,
  },
  {
    name: 'ci',
    group: 'Every day',
    summary: 'seal the keys that a build machine needs; the identity stays with you',
    load: async () => (await import('./ci/index.ts')).registerCi,
  },
  {
    name: 'update',
    group: 'Every day',
    summary: 'update an install to the newest release',
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
    summary: 'list every key with its age and when it is due, and each channel',
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
    summary: 'create, show, check and rotate identities and their key event logs',
    load: async () => (await import('./id/index.ts')).registerId,
  },
  {
    name: 'roles',
    group: 'Keys',
    summary: 'show or change who may sign, in role documents that the identity seals',
    load: async () => (await import('./roles/index.ts')).registerRoles,
  },
  {
    name: 'noise',
    group: 'Keys',
    summary: 'derive, publish, rotate, revoke and look up transport keys',
    load: async () => (await import('./noise/index.ts')).registerNoise,
  },
  {
    name: 'vault',
    group: 'Keys',
    summary: 'seal and open secrets under a master key that rotates without downtime',
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
    summary: 'act when a key may be stolen: rotate now, freeze, unfreeze, report',
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
    summary: 'run the whole story on this machine: publish, install, rotate keys, reject forged releases',
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
    summary: 'serve the same commands as tools over MCP on stdio',
    load: async () => (await import('./mcp.ts')).registerMcp,
  },
  {
    name: 'completion',
    group: 'Tools',
    summary: 'print a completion script for your shell',
    load: async () => (await import('./completion.ts')).registerCompletion,
  },
]
