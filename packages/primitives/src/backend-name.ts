import { name } from '#backend'

/** Which way computes here: `accelerated` under Node, `portable` in a browser or on demand. */
export const backendName: 'accelerated' | 'portable' = name
