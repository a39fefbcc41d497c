import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { members, sourceFiles } from '../checks/workspace.ts'

/** One run of a campaign: a seed and a size. */
export interface Batch {
  readonly seed: number
  readonly size: number
}

/** Something that searches for faults for a given time. */
export interface Campaign {
  readonly name: string
  /** Folder in which its command runs, relative to the root. */
  readonly folder: string
  /** What its size counts. Without it, batches differ only in their seed. */
  readonly unit?: string
  /** Size of the first batch: a few seconds. Later ones are as large as the time allows. */
  readonly firstSize?: number
  /** Program and arguments. */
  command(batch: Batch): readonly [string, ...string[]]
  /** Lines of its output that are printed when nothing was found: what was counted, and what could not be run here. */
  readonly shown?: RegExp
  /** Variables that carry seed and size. */
  env?(batch: Batch): Readonly<Record<string, string>>
}

const vitest = (...args: readonly string[]): readonly [string, ...string[]] => [
  'vitest',
  'run',
  '--testTimeout=86400000',
  ...args,
]

const targeted: readonly Campaign[] = [
  {
    name: 'archives: damaged bytes',
    folder: 'packages/m2pack-format',
    unit: 'archives',
    firstSize: 20_000,
    command: () => ['node', 'test/campaign.ts'],
    env: ({ seed, size }) => ({
      KEYTURN_FUZZ_SEED: String(seed),
      KEYTURN_FUZZ_PARSER: String(size),
      KEYTURN_FUZZ_OPEN: String(Math.ceil(size / 10)),
    }),
  },
  {
    name: 'archives: damaged bytes, the library in C under libFuzzer',
    folder: 'packages/m2pack-format',
    unit: 'archives',
    firstSize: 200_000,
    command: () => ['node', 'test/native-campaign.ts'],
    env: ({ seed, size }) => ({ KEYTURN_FUZZ_SEED: String(seed), KEYTURN_FUZZ_RUNS: String(size) }),
  },
  {
    name: 'archives: a folder becomes a link while extracting',
    folder: 'packages/m2pack-format',
    unit: 'extractions',
    firstSize: 500,
    command: () => vitest('test/safe-folder.test.ts'),
    env: ({ size }) => ({ KEYTURN_RACE_ROUNDS: String(size) }),
  },
  {
    name: 'key event logs: random commands against a model',
    folder: 'packages/kel',
    unit: 'sequences',
    firstSize: 2000,
    command: () => vitest('test/model.test.ts'),
    env: ({ seed, size }) => ({ KEL_MODEL_RUNS: String(size), KEYTURN_CAMPAIGN_SEED: String(seed) }),
  },
  {
    name: 'key event logs: random logs of signify-ts and of ours, verified by the other',
    folder: 'packages/kel',
    unit: 'logs each way',
    firstSize: 500,
    command: () => vitest('test/signify.test.ts'),
    env: ({ seed, size }) => ({ KEL_SIGNIFY_RUNS: String(size), KEYTURN_CAMPAIGN_SEED: String(seed) }),
  },
  {
    name: 'key event logs: two processes append in git',
    folder: 'packages/kel',
    unit: 'rounds',
    firstSize: 10,
    command: () => vitest('test/git-race.test.ts'),
    env: ({ size }) => ({ KEL_RACE_ROUNDS: String(size) }),
  },
  {
    name: 'releases: random states of lying servers',
    folder: 'packages/manifest',
    unit: 'histories',
    firstSize: 200,
    command: () => vitest('test/properties.test.ts'),
    env: ({ seed, size }) => ({ KEYTURN_CAMPAIGN_RUNS: String(size), KEYTURN_CAMPAIGN_SEED: String(seed) }),
  },
  {
    name: 'transport keys: damaged documents',
    folder: 'packages/noise-keys',
    unit: 'documents of each kind',
    firstSize: 200,
    command: () => ['node', 'test/campaign/fuzz.ts'],
    env: ({ seed, size }) => ({ SEED: String(seed), EXECUTIONS: String(size) }),
  },
  {
    name: 'transparency logs: damaged notes, proofs, policies, tiles and requests to a witness',
    folder: 'packages/tlog',
    unit: 'documents of each kind',
    firstSize: 2000,
    command: () => ['node', 'test/campaign/fuzz.ts'],
    env: ({ seed, size }) => ({ SEED: String(seed), EXECUTIONS: String(size) }),
  },
  {
    name: 'vault: interleavings of sweep, writers and promotion',
    folder: 'packages/vault-kdf',
    unit: 'interleavings',
    firstSize: 50,
    command: () => vitest('test/interleavings.test.ts'),
    env: ({ seed, size }) => ({ KEYTURN_SEED: String(seed), KEYTURN_INTERLEAVINGS: String(size) }),
  },
  ...(['folder', 'sqlite'] as const).map((store): Campaign => ({
    name: `vault: rotation under load with kill -9, ${store} store`,
    folder: 'packages/vault-kdf',
    unit: 'records',
    firstSize: 1000,
    command: ({ size }) => ['node', 'campaign/rotation-under-load.ts', store, String(size), '2', '6', '400'],
  })),
  {
    name: 'install engine: random pairs and chains of trees',
    folder: 'packages/install-engine',
    unit: 'pairs',
    firstSize: 200,
    command: () => vitest('test/tree-pairs.test.ts'),
    shown: /(?:seed \d+: .*|no folding volume here: .*|on (?:exFAT|VFAT).*|chain \d+ of seed .*)$/,
    env: ({ seed, size }) => ({
      KEYTURN_CAMPAIGN: '1',
      KEYTURN_SEED: String(seed),
      KEYTURN_TREE_PAIRS: String(size),
    }),
  },
  {
    name: 'launcher: SIGKILL anywhere in an update',
    folder: 'apps/launcher-daemon',
    unit: 'kills',
    firstSize: 6,
    command: () => vitest('test/program.test.ts'),
    env: ({ size }) => ({ KEYTURN_KILL_ROUNDS: String(size) }),
  },
  {
    name: 'launcher: every lie of a server, by the real program',
    folder: 'apps/launcher-daemon',
    command: () => vitest('test/binary.test.ts'),
    env: () => ({ KEYTURN_LIES: 'all' }),
  },
  {
    name: 'rotations: every alteration of a journal',
    folder: 'packages/publisher',
    command: () => vitest('test/rotation/altered-journals.test.ts'),
    env: () => ({ KEYTURN_CAMPAIGN: '1' }),
  },
  {
    name: 'rotations: every key while 2,000 launchers update',
    folder: 'apps/cli',
    unit: 'launchers',
    firstSize: 100,
    command: () => vitest('test/rotation/under-load.test.ts'),
    env: ({ size }) => ({ KEYTURN_LOAD_LAUNCHERS: String(Math.min(size, 2000)) }),
  },
  {
    name: 'drills: every theft and loss with many launchers',
    folder: 'apps/cli',
    unit: 'launchers in each drill',
    firstSize: 4,
    command: () => vitest('test/drill/drill.test.ts'),
    env: ({ size }) => ({ KEYTURN_DRILL_LAUNCHERS: String(Math.min(size, 500)) }),
  },
  {
    name: 'journeys: a studio that slept through seventeen rotations',
    folder: 'apps/cli',
    command: () => vitest('test/journeys/asleep.test.ts'),
    env: () => ({ KEYTURN_CAMPAIGN: '1' }),
  },
  {
    name: 'publishing: kill -9 of ship and of a schedule at every change of the server',
    folder: 'apps/cli',
    command: () => vitest('test/killed-uploads.test.ts'),
    env: () => ({ KEYTURN_KILL_STEP: '1' }),
  },
  {
    name: 'commands: Ctrl-C at every fifth look of each command that says what it left',
    folder: 'apps/cli',
    command: () => vitest('test/stopped-anywhere.test.ts'),
    env: () => ({ KEYTURN_STOP_STEP: '5' }),
  },
  {
    name: 'a client of very many files',
    folder: 'apps/cli',
    unit: 'files',
    firstSize: 2000,
    command: () => vitest('test/journeys/many-files.test.ts'),
    shown: /\d+ files, .*$/,
    env: ({ size }) => ({ KEYTURN_CLIENT_FILES: String(Math.min(size, 100_000)) }),
  },
  {
    name: 'log of releases: death at every step of an append, two replicas with kill -9',
    folder: 'apps/release-server',
    command: () => vitest('test/release-log-crash.test.ts'),
    env: () => ({ KEYTURN_LOG_STRIDE: '1' }),
  },
  {
    name: 'runtimes: every package on each runtime of docs/runtimes.md',
    folder: '.',
    command: () => ['node', 'tooling/runtimes/run.ts'],
  },
  {
    name: 'server: kill -9 in uploads and publishes',
    folder: 'apps/release-server',
    command: () => vitest('test/crash.test.ts'),
  },
  {
    name: 'release: a dry run, and its Debian package in a chroot',
    folder: 'tooling/release',
    command: () => ['node', 'campaign/debian.ts'],
    shown: /(?:not tried here: .*|checked: .*|.*tarballs, packed twice.*|no Debian package: .*)$/,
  },
  {
    name: 'release: the container image of the server',
    folder: 'tooling/release',
    command: () => ['node', 'campaign/container.ts'],
    shown: /(?:not tried here: .*|checked: .*)$/,
  },
]

/** Every property test of a package, with another seed each time. */
function propertyCampaigns(): Campaign[] {
  return members().flatMap(({ group, folder, path }) => {
    const files = sourceFiles(join(path, 'test')).filter((name) => {
      return name.endsWith('.test.ts') && /\bfc\.assert\(/.test(readFileSync(join(path, 'test', name), 'utf8'))
    })
    // These have a campaign of their own.
    const rest = files
      .map((name) => `test/${name}`)
      .filter(
        (file) =>
          !targeted.some(
            (campaign) =>
              campaign.command({ seed: 0, size: 0 }).includes(file) && campaign.folder.endsWith(`/${folder}`),
          ),
      )
    if (rest.length === 0) return []
    return [
      {
        name: `properties of ${folder}`,
        folder: `${group}/${folder}`,
        command: () => vitest(...rest),
        env: ({ seed }: Batch) => ({ KEYTURN_CAMPAIGN_SEED: String(seed) }),
      },
    ]
  })
}

/** All campaigns, in the order they run. */
export function allCampaigns(): Campaign[] {
  return [...targeted, ...propertyCampaigns()]
}
