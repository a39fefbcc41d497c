// Loaded before a program: the package of the release server is not there, as after `npm install --omit=optional`.
import { registerHooks } from 'node:module'

registerHooks({
  resolve(specifier, context, nextResolve) {
    if (specifier !== '@keyturn/release-server') return nextResolve(specifier, context)
    const error = new Error(`Cannot find package '${specifier}' imported from ${context.parentURL ?? ''}`)
    throw Object.assign(error, { code: 'ERR_MODULE_NOT_FOUND' })
  },
})
