export { changesDisk, faultFileSystem } from './fault-file-system.ts'
export type { FaultFileSystem, FaultFileSystemOptions, FaultPlan, RecordedOperation } from './fault-file-system.ts'
