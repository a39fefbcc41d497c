import type { Component, Requirements } from '@keyturn/manifest'
import { PublisherError } from '../errors.ts'
import type { HomeDescription } from '../home.ts'
import type { Selection } from '../tree/exclusions.ts'
import type { Layout } from '../tree/layout.ts'
import type { ProjectPlan } from './project-plan.ts'
import { checkProjectServer } from './project-server.ts'
import type { Project } from './project.ts'

/** What the manifest of a release takes from its project. */
export interface ProjectTerms {
  readonly selection: Selection
  readonly keep: readonly string[]
  readonly program: Readonly<Record<string, string>> | undefined
  readonly requires: Requirements | undefined
  readonly layout: Layout
  readonly components: readonly Component[] | undefined
}

/**
 * The terms of a release: the same for `ship`, which makes its tree, and for `release prepare`, which is given one.
 *
 * @param made - From `planProject`.
 */
export function projectTerms(project: Project, { selection, layout }: ProjectPlan): ProjectTerms {
  const { keep, program, requires } = project
  return { selection, keep, program, requires, layout, components: project.layout.components }
}

/**
 * Checks that a project belongs to a home.
 *
 * @param server - The one that was given, if any.
 * @throws {@link PublisherError} `CLI_USAGE` for another product or server.
 */
export function checkProjectHome(project: Project, home: HomeDescription, server?: string): void {
  if (project.product !== undefined && project.product !== home.product)
    throw new PublisherError('CLI_USAGE', `The project is "${project.product}", this home is of "${home.product}"`)
  checkProjectServer(server, project, home)
}
