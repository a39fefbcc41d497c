export { openStream, sealStream } from './container.ts'
export { readHomeStream, streamHome } from './home-files.ts'
export type { BackupCount } from './home-files.ts'
