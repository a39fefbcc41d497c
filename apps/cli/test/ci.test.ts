import { spawn } from 'node:child_process'
import { access, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Scope } from '@keyturn/release-client'
import { parse } from 'yaml'
import { World } from './support/world.ts'
import { MAIN, TEST_ENVIRONMENT } from './support/program.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const pinned = /^[\w.-]+\/[\w./-]+@[0-9a-f]{40}$/

type Variables = Readonly<Record<string, string>>
interface Step {
  id?: string
  name?: string
  uses?: string
  run?: string
  shell?: string
  env?: Variables
  with?: Record<string, unknown>
}
interface Action {
  name: string
  description: string
  inputs: Record<string, { description: string; required?: boolean; default?: string }>
  outputs: Record<string, { description: string; value: string }>
  runs: { using: string; steps: Step[] }
}
interface Workflow {
  jobs: Record<string, { 'runs-on': string; permissions: unknown; concurrency: string; steps: Step[] }>
}
interface GitlabJob {
  image: string
  resource_group: string
  variables: Variables
  script: string[]
  after_script: string[]
}

const guide = await readFile(join(root, 'docs/guides/ci.md'), 'utf8')
const blocks = (language: string): string[] =>
  [...guide.matchAll(new RegExp(`^ *\`\`\`${language}\\n([\\s\\S]*?)\`\`\``, 'gm'))].map((match) => match[1] ?? '')
const [workflowText = '', gitlabText = ''] = blocks('yaml')
const workflow = parse(workflowText) as Workflow
const gitlab = parse(gitlabText) as Record<string, GitlabJob>
const action = parse(await readFile(join(root, 'tooling/actions/publish/action.yml'), 'utf8')) as Action

/** Fills in `${{ … }}`. */
function filledIn(text: string, values: Variables): string {
  return text.replaceAll(/\$\{\{ *([\w.-]+) *\}\}/g, (_whole, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`Nobody knows ${name}`)
    return value
  })
}

function filledInAll(variables: Variables, values: Variables): Variables {
  return Object.fromEntries(Object.entries(variables).map(([name, text]) => [name, filledIn(String(text), values)]))
}

/** A runner with an empty home: `keyturn` is there once the job has installed it. */
class Runner {
  readonly folder: string
  constructor(folder: string) {
    this.folder = folder
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  async prepare(): Promise<void> {
    await mkdir(this.path('bin'))
    await mkdir(this.path('temp'))
    await mkdir(this.path('repo'))
    await mkdir(this.path('action'))
    await writeFile(
      this.path('action', 'verify-provenance.mjs'),
      `import { appendFileSync } from 'node:fs'\nappendFileSync(${JSON.stringify(this.path('npm.log'))}, ` +
        `'provenance of ' + process.argv[3] + '\\n')\n`,
    )
    const keyturn = `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`
    await writeFile(this.path('keyturn'), keyturn, { mode: 0o755 })
    await writeFile(
      this.path('bin', 'npm'),
      `#!/bin/sh\necho "$@" >> "${this.path('npm.log')}"\ncp "${this.path('keyturn')}" "${this.path('bin')}/"\n`,
      { mode: 0o755 },
    )
    await writeFile(
      this.path('repo', 'build-client.sh'),
      '#!/bin/sh\nmkdir -p "$1/data" && echo one > "$1/data/one.txt" && echo read me > "$1/read.me"\n',
      { mode: 0o755 },
    )
    await writeFile(this.path('repo', 'CHANGES.md'), 'News\n')
    const project = { schema: 1, product: 'test', source: 'out/client', notes: 'CHANGES.md' }
    await writeFile(this.path('repo', 'keyturn.json'), JSON.stringify(project))
  }

  /** The next build differs. */
  async change(words: string): Promise<void> {
    await writeFile(this.path('repo', 'CHANGES.md'), `${words}\n`)
  }

  async run(script: string, variables: Variables = {}): Promise<string> {
    const child = spawn('bash', ['-eo', 'pipefail', '-c', script], {
      cwd: this.path('repo'),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: `${this.path('bin')}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
        HOME: this.folder,
        ...TEST_ENVIRONMENT,
        ...variables,
      },
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    const code = await new Promise((resolve) => {
      child.once('close', resolve)
    })
    expect(code, `${script}\n${output}`).toBe(0)
    return output
  }
}

let world: World
let runner: Runner
beforeEach(async () => {
  world = await World.create()
  await world.startServer()
  runner = new Runner(await mkdtemp(join(tmpdir(), 'keyturn-ci-')))
  await runner.prepare()
})
afterEach(async () => {
  await world.remove()
  await rm(runner.folder, { recursive: true, force: true })
})

/** What the guide stores as secrets, made as it says, after a first release on the publisher's machine. */
async function makeSecrets(): Promise<{ bundle: string; passphrase: string; token: string }> {
  await (await world.home()).update({ server: world.url })
  const publisher = new Runner(await mkdtemp(join(tmpdir(), 'keyturn-ci-publisher-')))
  try {
    await publisher.prepare()
    await cp(publisher.path('keyturn'), publisher.path('bin', 'keyturn'))
    const variables = {
      KEYTURN_HOME: world.path('home'),
      KEYTURN_PASSPHRASE_FILE: world.path('passphrase'),
      KEYTURN_TOKEN: world.token,
    }
    await publisher.run('./build-client.sh out/client && keyturn ship --yes', variables)
    await publisher.run('keyturn ship --yes --channel beta', variables)
    await publisher.run(blocks('sh')[0] ?? '', variables)
    const created = await world.client?.createToken({
      name: 'ci',
      scopes: scopesOfGuide(),
      products: ['test'],
      days: 90,
    })
    return {
      bundle: await readFile(publisher.path('repo', 'ci.home.txt'), 'utf8'),
      passphrase: (await readFile(publisher.path('repo', 'ci-passphrase.txt'), 'utf8')).trim(),
      token: created?.secret ?? '',
    }
  } finally {
    await rm(publisher.folder, { recursive: true, force: true })
  }
}

/** The scopes that the guide tells to give, and no other. */
function scopesOfGuide(): Scope[] {
  const [, list = ''] = /^ +--scope (\S+)$/m.exec(guide) ?? []
  return list.split(',') as Scope[]
}

describe('the GitHub workflow of docs/guides/ci.md', () => {
  it('has the form of a workflow: actions pinned by commit, one thing a step, inputs that the action has', () => {
    expect(Object.keys(workflow)).toEqual(['jobs'])
    const { release } = workflow.jobs
    expect(release).toMatchObject({
      'runs-on': 'ubuntu-latest',
      permissions: { contents: 'read' },
      concurrency: 'keyturn-release',
    })
    for (const step of release?.steps ?? []) {
      expect((step.uses === undefined) !== (step.run === undefined), JSON.stringify(step)).toBe(true)
      if (step.uses !== undefined) expect(step.uses).toMatch(pinned)
    }
    const own = release?.steps.find(
      ({ uses }) => uses?.startsWith('your-org/keyturn/tooling/actions/publish@') === true,
    )
    const given = Object.keys(own?.with ?? {})
    expect(given.filter((name) => !(name in action.inputs))).toEqual([])
    expect(
      Object.entries(action.inputs).filter(([name, { required }]) => required === true && !given.includes(name)),
    ).toEqual([])
  })

  it('releases with the reusable action: its steps run as they stand', async () => {
    expect(Object.keys(action)).toEqual(['name', 'description', 'inputs', 'outputs', 'runs'])
    expect(action.runs.using).toBe('composite')
    const secrets = await makeSecrets()
    await runner.change('News of the GitHub job')
    const runnerValues = {
      'runner.temp': runner.path('temp'),
      'secrets.KEYTURN_BUNDLE': secrets.bundle,
      'secrets.KEYTURN_PASSPHRASE': secrets.passphrase,
      'secrets.KEYTURN_TOKEN': secrets.token,
      'github.action_path': runner.path('action'),
      'github.action_repository': 'your-org/keyturn',
    }
    let inputs: Variables = {}
    for (const step of workflow.jobs['release']?.steps ?? []) {
      if (step.run !== undefined)
        await runner.run(step.run, { RUNNER_TEMP: runner.path('temp'), ...filledInAll(step.env ?? {}, runnerValues) })
      if (step.uses?.startsWith('your-org/') === true) inputs = filledInAll(step.with as Variables, runnerValues)
    }
    const defaults = Object.fromEntries(
      Object.entries(action.inputs).map(([name, input]) => [name, filledIn(input.default ?? '', runnerValues)]),
    )
    const values: Record<string, string> = Object.fromEntries(
      Object.entries({ ...defaults, ...inputs }).map(([name, value]) => [`inputs.${name}`, value]),
    )
    const output = runner.path('output')
    await writeFile(output, '')
    for (const step of action.runs.steps) {
      expect(step.shell).toBe('bash')
      await runner.run(step.run ?? '', {
        GITHUB_OUTPUT: output,
        GITHUB_PATH: runner.path('added-to-path'),
        ...filledInAll(step.env ?? {}, { ...runnerValues, ...values }),
      })
    }
    const version = /^release=(\d{4}\.\d{2}\.\d{2}-\d+)$/m.exec(await readFile(output, 'utf8'))?.[1]
    expect(action.outputs['release']?.value).toBe('${{ steps.publish.outputs.release }}')
    expect((await world.client?.getRelease('test', 'beta', version ?? ''))?.version).toBe(version)
    // Nothing that is installed runs before it is verified.
    expect((await readFile(runner.path('npm.log'), 'utf8')).split('\n')).toEqual([
      `install --ignore-scripts --no-audit --no-fund --save-exact @keyturn/cli@${inputs['version']}`,
      'audit signatures',
      'provenance of your-org/keyturn',
      '',
    ])
    expect(await readFile(runner.path('added-to-path'), 'utf8')).toBe(
      `${runner.path('temp', 'keyturn-cli', 'node_modules', '.bin')}\n`,
    )
    await expect(access(runner.path('temp', 'keyturn-home'))).rejects.toMatchObject({ code: 'ENOENT' })
    const bytes = await readFile(runner.path('temp', 'ci.home'))
    expect(Buffer.from(secrets.bundle, 'base64').equals(bytes), 'the job wrote its bundle').toBe(true)
  })
})

describe('the reusable action', () => {
  it.each(['', 'latest', '^1.2.3', '1.2', '1.2.3 --ignore-scripts=false', '1.2.3;id', 'file:../evil'])(
    'refuses the version "%s": one exact version, and nothing is installed',
    async (version) => {
      const [install] = action.runs.steps
      const env = { CLI_VERSION: version, CLI_REPOSITORY: 'a/b', CLI_FOLDER: runner.path('cli'), ACTION_FOLDER: '' }
      await runner.run(`( ${install?.run ?? ''}\n) && exit 1 || test $? = 2`, env)
      await expect(access(runner.path('npm.log'))).rejects.toMatchObject({ code: 'ENOENT' })
    },
  )
})

describe('the GitLab job of docs/guides/ci.md', () => {
  it('has the form of a job, and releases: its script runs as it stands', async () => {
    expect(Object.keys(gitlab)).toEqual(['release'])
    const job = gitlab['release'] as GitlabJob
    expect(Object.keys(job)).toEqual(['image', 'resource_group', 'variables', 'script', 'after_script'])
    expect(job.image).toBe('node:24')
    expect([...job.script, ...job.after_script].every((line) => typeof line === 'string')).toBe(true)
    const secrets = await makeSecrets()
    await runner.change('News of the GitLab job')
    const files = {
      KEYTURN_BUNDLE: secrets.bundle,
      KEYTURN_PASSPHRASE: `${secrets.passphrase}\n`,
      KEYTURN_TOKEN_FILE: `${secrets.token}\n`,
    }
    for (const [name, text] of Object.entries(files)) await writeFile(runner.path('temp', name), text, { mode: 0o600 })
    const given = {
      CI_PROJECT_DIR: runner.path('repo'),
      ...Object.fromEntries(Object.keys(files).map((name) => [name, runner.path('temp', name)])),
    }
    const exported = Object.entries(job.variables).map(([name, value]) => `export ${name}="${value}"`)
    const script = [...exported, ...job.script].join('\n')
    await runner.run(script, given)
    await runner.run(job.after_script.join('\n'), given)
    expect(await world.client?.getChannel('test', 'stable')).toMatchObject({ channel: 'stable', head: { sequence: 2 } })
    // The daily job, from an empty folder too.
    const renew = blocks('text').find((text) => text.includes('keyturn release renew')) ?? ''
    const restore = job.script.filter((line) => /^(?:mkdir|openssl|keyturn restore)/.test(line))
    await runner.run([...exported, ...restore, renew].join('\n'), given)
    expect(await world.client?.getChannel('test', 'stable')).toMatchObject({ head: { sequence: 3 } })
    await runner.run(job.after_script.join('\n'), given)
    await expect(access(runner.path('repo', '.keyturn'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
