import { lstatSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { askAgent } from './ask-agent.ts'
import { agentAddress, problemOf } from './runtime-folder.ts'
import type { AgentPlace } from './runtime-folder.ts'

/** What is wrong with the place where an agent of a home would answer. */
export interface AgentProblem {
  readonly level: 'warning' | 'error'
  readonly message: string
  /** The command that fixes it. */
  readonly fix: string
}

/** What keeps commands from believing an agent, or what a killed one left; undefined when nothing does. */
export async function agentProblem(place: AgentPlace): Promise<AgentProblem | undefined> {
  if (process.platform === 'win32') return undefined
  const address = agentAddress(place)
  const folder = dirname(address)
  if (!isThere(folder)) return undefined
  const closed = problemOf(folder, 'folder')
  if (closed !== undefined)
    return { level: 'error', message: `"${folder}" ${closed}: nothing can be unlocked`, fix: fixOf(folder, closed) }
  if (!isThere(address)) return undefined
  const open = problemOf(address, 'socket')
  if (open !== undefined)
    return { level: 'error', message: `"${address}" ${open}: no command asks it`, fix: `rm -r '${address}'` }
  if ((await askAgent(place, 'status')) !== undefined) return undefined
  return { level: 'warning', message: `"${address}" was left by an agent that was killed`, fix: 'keyturn lock' }
}

/** Removes the socket of an agent that was killed: one of this user that nobody answers on. */
export function removeLeftSocket(place: AgentPlace): void {
  if (process.platform === 'win32') return
  const address = agentAddress(place)
  if (!isThere(address) || problemOf(dirname(address), 'folder') !== undefined) return
  if (problemOf(address, 'socket') === undefined) rmSync(address, { force: true })
}

function fixOf(folder: string, problem: string): string {
  return problem === 'is open to other users' ? `chmod 700 '${folder}'` : `rm -r '${folder}'`
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}
