import type { PlayerConfig } from '../../src/player-config.ts'

/** What is built into the launcher of a studio, version 1.0.0 for Linux. */
export function playerConfig(place: Pick<PlayerConfig, 'server' | 'trust'>): PlayerConfig {
  return {
    schema: 1,
    id: 'my-game',
    name: 'My Game',
    publisher: 'My Studio',
    version: '1.0.0',
    channel: 'stable',
    languages: [],
    telemetry: false,
    target: 'linux',
    nodeMajor: 24,
    ...place,
  }
}
