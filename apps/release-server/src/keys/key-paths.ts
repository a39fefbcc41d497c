/** Path of the records of an identity, below its name. */
export const RECORD_PATH = '/pub/noise.app/v0/'
/** Path of its key list. */
export const KEY_LIST_PATH_OF = '/pub/noise.app/v1/keys'
