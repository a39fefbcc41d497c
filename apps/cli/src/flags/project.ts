import { resolve } from 'node:path'
import type { Command } from 'commander'
import { findProject, PROJECT_FILE, readProject } from '@keyturn/publisher/release'
import type { Project } from '@keyturn/publisher/release'

/** Which project file the rules come from. */
export interface ProjectOption {
  /** A file; `false` for none. */
  readonly project?: string | false | undefined
}

/** Adds `--project` and `--no-project` to one of the steps of `ship`. */
export function withProject(command: Command): Command {
  return command
    .option('--project <file>', `the project file with the rules (default: ${PROJECT_FILE} here or in a folder above)`)
    .option('--no-project', `use no rules of a ${PROJECT_FILE}`)
}

/** The project that a command works for: the one named, else one here or above; undefined when there is none. */
export async function findProjectFor({ project }: ProjectOption): Promise<Project | undefined> {
  if (project === false) return undefined
  // Commander gives `true` where a command has --no-project and neither was said.
  return typeof project === 'string' ? await readProject(resolve(project)) : await findProject(process.cwd())
}
