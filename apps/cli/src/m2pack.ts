#!/usr/bin/env node
import { runM2pack } from './m2pack/program.ts'
import { runProcess } from './process.ts'

await runProcess(runM2pack)
