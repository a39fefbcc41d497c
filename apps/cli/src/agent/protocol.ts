import { isRecord } from '@keyturn/primitives'

/** What an agent is asked. One line of JSON each way, then the connection ends. */
export interface AgentRequest {
  readonly version: 1
  readonly want: 'passphrase' | 'status' | 'lock'
}

/** What it answers. */
export interface AgentReply {
  readonly version: 1
  /** When it locks by itself, milliseconds since the epoch. */
  readonly untilMs: number
  /** Base64; only where it was asked for. */
  readonly passphrase?: string | undefined
}

/** What the process of an agent is started with, on its standard input. */
export interface AgentStart {
  readonly address: string
  /** Base64. */
  readonly passphrase: string
  readonly forMs: number
}

/** Longest line either side takes: a passphrase has at most 4,096 bytes. */
export const MAX_LINE_BYTES = 8 * 1024
/** How long either side waits for the other, milliseconds. */
export const PATIENCE_MS = 2_000

/** Reads one line of the protocol; undefined for anything else. */
export function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return isRecord(value) && value['version'] === 1 ? value : undefined
  } catch {
    return undefined
  }
}
