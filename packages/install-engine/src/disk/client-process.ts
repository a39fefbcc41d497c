import { readFileSync } from 'node:fs'
import { parseStrictJson } from '@keyturn/primitives'
import type { FileSystem } from '@keyturn/primitives/node'
import { readSmallFile, removeFile, writeSmallFile } from './disk.ts'
import type { Layout } from './layout.ts'

/** Start of a process in the system's own words, so that a reused pid is recognized; empty where unknown. */
export function processStart(pid: number): string {
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return status.slice(status.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return '' // no /proc, or no such process
  }
}

function isAlive(pid: number, started: string): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
  const now = processStart(pid)
  return started === '' || now === '' || now === started
}

function clientFile(layout: Layout): string {
  return `${layout.updates}/client.json`
}

/** Writes down which process is the client, so that no update is put in place under it. */
export async function rememberClient(fs: FileSystem, layout: Layout, pid: number): Promise<void> {
  const started = processStart(pid)
  await writeSmallFile(fs, clientFile(layout), new TextEncoder().encode(JSON.stringify({ pid, started })))
}

/** Forgets the client. */
export async function forgetClient(fs: FileSystem, layout: Layout): Promise<void> {
  await removeFile(fs, clientFile(layout))
}

/** The pid of the client that runs from this install, if one does. */
export async function runningClient(fs: FileSystem, layout: Layout): Promise<number | undefined> {
  const bytes = await readSmallFile(fs, clientFile(layout), 1024).catch(() => undefined)
  if (bytes === undefined) return undefined
  try {
    const value = parseStrictJson(bytes)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    const { pid, started } = value
    return typeof pid === 'number' && typeof started === 'string' && isAlive(pid, started) ? pid : undefined
  } catch {
    return undefined // half-written: the process that wrote it is gone
  }
}
