export { contactName, isWebAddress, notifyContacts, readContacts, writeContacts } from './contacts.ts'
export { readNoted, writeNoted } from './hand-over.ts'
export { transportPolicy } from './policy.ts'
export {
  directoriesOf,
  directoryOf,
  identityOf,
  nowSeconds,
  openFloors,
  openTransport,
  writableDirectoriesOf,
} from './transport-home.ts'
export type { TransportHome } from './transport-home.ts'
export type { Contact, Notified } from './contacts.ts'
