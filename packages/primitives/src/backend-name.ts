import { name } from '#backend'

/** The backend in use: `accelerated` under Node, `portable` in a browser or on request. */
export const backendName: 'accelerated' | 'portable' = name
