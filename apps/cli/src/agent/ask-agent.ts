import { connect } from 'node:net'
import { dirname } from 'node:path'
import { agentAddress, problemOf } from './runtime-folder.ts'
import type { AgentPlace } from './runtime-folder.ts'
import { MAX_LINE_BYTES, parseLine, PATIENCE_MS } from './protocol.ts'
import type { AgentReply, AgentRequest } from './protocol.ts'

/**
 * Asks the agent of a home; undefined when none answers, which means that the home is locked. A socket that another
 * user could have made is not asked.
 */
export async function askAgent(place: AgentPlace, want: AgentRequest['want']): Promise<AgentReply | undefined> {
  const address = agentAddress(place)
  if (!isOwn(address)) return undefined
  const line = await exchange(address, { version: 1, want }).catch(() => undefined)
  const reply = line === undefined ? undefined : parseLine(line)
  const { untilMs, passphrase } = reply ?? {}
  if (typeof untilMs !== 'number') return undefined
  return { version: 1, untilMs, passphrase: typeof passphrase === 'string' ? passphrase : undefined }
}

/** The passphrase of a home that is unlocked; the caller wipes it. */
export async function unlockedPassphrase(place: AgentPlace): Promise<Uint8Array | undefined> {
  const passphrase = (await askAgent(place, 'passphrase'))?.passphrase
  return passphrase === undefined ? undefined : new Uint8Array(Buffer.from(passphrase, 'base64'))
}

function isOwn(address: string): boolean {
  if (process.platform === 'win32') return true
  try {
    return problemOf(dirname(address), 'folder') === undefined && problemOf(address, 'socket') === undefined
  } catch {
    return false
  }
}

function exchange(address: string, request: AgentRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(address)
    let line = ''
    const give = (): void => reject(new Error('The agent did not answer'))
    socket.setTimeout(PATIENCE_MS, () => socket.destroy())
    socket.setEncoding('utf8')
    socket.once('connect', () => socket.write(`${JSON.stringify(request)}\n`))
    socket.on('data', (text: string) => {
      line += text
      if (line.length > MAX_LINE_BYTES) socket.destroy()
      if (!line.includes('\n')) return
      resolve(line)
      socket.destroy()
    })
    socket.once('error', reject)
    socket.once('close', give)
  })
}
