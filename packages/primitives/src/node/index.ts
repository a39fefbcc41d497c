export { syncFolder, writeAll, writeFileAtomic } from './atomic-file.ts'
export { onDisk } from './file-error.ts'
export { isMissing, nodeFileSystem, pathExists, systemErrorCode } from './file-system.ts'
export { Journal } from './journal.ts'
export { inspectLock, lockFile } from './lock.ts'
export { resolveLink } from './resolve-link.ts'
export type { WriteFileAtomicOptions } from './atomic-file.ts'
export type { FileHandle, FileSystem, FileSystemOperation } from './file-system.ts'
export type { JournalChange, JournalOptions } from './journal.ts'
export type { Lock, LockOptions, LockState } from './lock.ts'
export type { LockHolder } from './lock-holder.ts'
export type { SystemLock, SystemLockAttempt, TakeSystemLock } from './system-lock.ts'
// Moved to /testing; here until the last caller has followed.
export { changesDisk, faultFileSystem } from '../testing/fault-file-system.ts'
export type {
  FaultFileSystem,
  FaultFileSystemOptions,
  FaultPlan,
  RecordedOperation,
} from '../testing/fault-file-system.ts'
