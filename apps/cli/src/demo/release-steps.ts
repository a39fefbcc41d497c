import type { Context } from '../command.ts'
import { activeContentKey } from '@keyturn/publisher'
import { writeRuntimeKeyFile } from '@keyturn/publisher/records'
import { issueHead, packTree, prepareRelease, publishRelease, signRelease } from '@keyturn/publisher/release'
import type { PackReport } from '@keyturn/publisher/release'
import { counted } from '../output.ts'
import { demoNames } from './stage.ts'
import type { Stage } from './stage.ts'
import type { StepOutcome } from './steps.ts'

/**
 * Packs the source tree into a release tree; unchanged files keep their bytes.
 *
 * @param context - The command.
 * @param stage - Home and source.
 * @param output - New folder.
 * @param previous - Release tree of the release before.
 */
export async function packRelease(
  context: Context,
  stage: Stage,
  output: string,
  previous: string | undefined,
): Promise<StepOutcome & { readonly bytes: number }> {
  const progress = context.out.progress('pack')
  let report: PackReport
  try {
    report = await packTree(stage.home, {
      input: stage.path('source'),
      output,
      previous,
      signal: stage.signal,
      progress,
    })
  } finally {
    progress.end()
  }
  await writeRuntimeKeyFile(stage.home, output, activeContentKey(stage.home.description))
  const carried = report.carriedFiles > 0 ? `, ${report.carriedFiles} carried over` : ''
  return {
    bytes: report.archiveBytes,
    note: `${counted(report.archives, 'archive')}, ${counted(report.files, 'file')}${carried}`,
  }
}

/** Manifest, signature, head, upload. */
export async function publishTree(
  context: Context,
  { home, client, signal }: Stage,
  tree: string,
): Promise<StepOutcome> {
  const nowMs = context.clock()
  const release = await signRelease(
    home,
    await prepareRelease(home, { tree, channel: demoNames.channel, nowMs, signal }),
  )
  const head = await issueHead(home, release, { nowMs })
  const progress = context.out.progress('publish')
  try {
    const report = await publishRelease(home, client, { release, head }, { signal, progress })
    return {
      bytes: report.bytes,
      note: `${report.version}, ${counted(report.blobs, 'blob')} sent, ${report.present} there already`,
    }
  } finally {
    progress.end()
  }
}

/** Starts the client once: it must open every archive under the key it was handed. */
export async function playOnce(stage: Stage, keyId: number, serverIsDown: boolean): Promise<StepOutcome> {
  const report = await stage.play(serverIsDown)
  const { ok, exit, files, bytes, archives, code } = report
  if (report.offline !== serverIsDown) return { ok: false, note: `offline is ${report.offline}` }
  if (!ok) return { ok: false, note: `client refused: ${code}, exit ${exit ?? 'by signal'}` }
  return {
    bytes,
    ok: exit === 0 && report.keyId === keyId,
    note: `key_id ${report.keyId}, ${counted(archives, 'archive')}, every one of ${counted(files, 'file')} whole`,
  }
}
