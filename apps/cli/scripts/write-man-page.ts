// Writes the manual page beside the built program: dist/man/keyturn.1.
import { mkdirSync, writeFileSync } from 'node:fs'
import { describeCommands } from '../dist/command-tree.js'
import { manPage } from '../dist/man-page.js'
import { version } from '../dist/version.js'

const folder = new URL('../dist/man/', import.meta.url)
mkdirSync(folder, { recursive: true })
writeFileSync(new URL('keyturn.1', folder), manPage(await describeCommands(), version()))
