import { spawn } from 'node:child_process'
import { dirname } from 'node:path'
import type { World } from './world.ts'

/**
 * Runs a script as someone at a shell would, in the folder of a world and with its home: the first command that fails
 * ends it. The output shows each command.
 */
export async function shell(world: World, script: string): Promise<{ code: number | null; output: string }> {
  const child = spawn('bash', ['-eo', 'pipefail', '-c', `set -x; ${script}`], {
    cwd: world.folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: `${world.path('bin')}:${dirname(process.execPath)}:${process.env['PATH'] ?? ''}`,
      HOME: world.folder,
      KEYTURN_HOME: world.path('home'),
      KEYTURN_PASSPHRASE_FILE: world.path('passphrase'),
      KEYTURN_TOKEN_FILE: world.path('token'),
      NODE_NO_WARNINGS: '1',
    },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  return await new Promise((resolve) => {
    child.once('close', (code) => {
      resolve({ code, output })
    })
  })
}
