// The demonstration starts the sample client as a program of its own, also from an installed package: it travels in
// dist.
import { copyFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const from = fileURLToPath(new URL('../../../tooling/sample-client/dist/main.js', import.meta.url))
copyFileSync(from, fileURLToPath(new URL('../dist/sample-client.js', import.meta.url)))
