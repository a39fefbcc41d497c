/** Where the records of an identity lie, below its name. */
export const RECORD_PATH = '/pub/noise.app/v0/'
/** Where its key list lies. */
export const KEY_LIST_PATH_OF = '/pub/noise.app/v1/keys'
