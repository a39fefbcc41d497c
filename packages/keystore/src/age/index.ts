export { exportSecretToAge, exportToAge, importFromAge, importSecretFromAge } from './age.ts'
export type { AgeExportOptions, AgeImportOptions, AgeKeys, AgeReceivers, AgeSecretOptions } from './age.ts'
