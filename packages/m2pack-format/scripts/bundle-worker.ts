// Puts the worker thread of packing and opening into one file: every thread loads all of its modules.
import { fileURLToPath } from 'node:url'
import { bundle } from '../../../tooling/bundle/bundle.ts'

const own = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '')
const output = `${own}/dist/node`
await bundle({ own, input: { worker: `${output}/worker.js` }, output, single: true })
