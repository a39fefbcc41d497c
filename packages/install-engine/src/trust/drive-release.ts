import type { DocumentAnswer, DocumentRequest, ReleaseDecision, ReleaseSteps } from '@keyturn/manifest'

/** Fetches one document; `undefined` when it is not available. */
export type DocumentProvider = (request: DocumentRequest) => Promise<DocumentAnswer>

/** Drives a verification: each document is fetched only when what came before it is trusted. */
export async function driveRelease(steps: ReleaseSteps, provide: DocumentProvider): Promise<ReleaseDecision> {
  let step = steps.next()
  while (step.done !== true) step = steps.next(await provide(step.value))
  return step.value
}
