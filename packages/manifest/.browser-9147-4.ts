import * as face from '@keyturn/manifest'
if (Object.keys(face).length === 0) throw new Error('nothing is exported')
