// Writes the manual pages beside the built programs: dist/man/keyturn.1 and m2pack.1.
import { mkdirSync, writeFileSync } from 'node:fs'
import { describeM2pack } from '../dist/command-tree.js'
import { describeCommands } from '../dist/describe-commands.js'
import { manPage } from '../dist/man-page.js'
import { version } from '../dist/version.js'

const folder = new URL('../dist/man/', import.meta.url)
mkdirSync(folder, { recursive: true })
for (const root of [await describeCommands(), await describeM2pack()])
  writeFileSync(new URL(`${root.program}.1`, folder), manPage(root, version()))
