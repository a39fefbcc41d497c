import { formatBytes } from '@keyturn/primitives'
import type { JsonValue } from '@keyturn/primitives'
import { createEngine, keepSettings, LauncherError, toEngineOptions } from '@keyturn/install-engine'
import type { Engine, Settings } from '@keyturn/install-engine'
import type { Flags } from './flags.ts'
import { updateData, updateText } from './results.ts'

interface Install {
  readonly folder: string
  readonly settings: Settings & { readonly server: string; readonly trust: string }
  readonly engine: Engine
  readonly flags: Flags
}

interface Answer {
  readonly data: { [name: string]: JsonValue }
  readonly text: string
}

type Components = Awaited<ReturnType<Engine['status']>>['components']

function shown(components: Components): { data: JsonValue; text: string } {
  const data = components.map(({ name, title, bytes, isChosen, default: isDefault }) => ({
    name,
    title,
    bytes,
    chosen: isChosen,
    default: isDefault,
  }))
  const width = Math.max(0, ...components.map(({ name }) => name.length))
  const lines = components.map(
    ({ name, title, bytes, isChosen }) =>
      `${isChosen ? '[x]' : '[ ]'} ${name.padEnd(width)}  ${formatBytes(bytes).padStart(8)}  ${title}`,
  )
  return { data, text: lines.length === 0 ? 'This release has nothing that may be left out' : lines.join('\n') }
}

/** The installed release's components, else those of the one on offer. */
async function known(engine: Engine): Promise<Components> {
  const { version, components } = await engine.status()
  return version === undefined ? ((await engine.offer())?.components ?? []) : components
}

/**
 * Shows the components of an install. With `--add` or `--remove` it keeps the answer, and downloads or removes the
 * difference.
 *
 * @throws LauncherError `LA_USAGE` for a component that the release does not have.
 */
export async function changeComponents(
  { folder, settings, engine, flags: { add = [], remove = [] } }: Install,
  { signal, env }: { signal: AbortSignal; env: Readonly<Record<string, string | undefined>> },
): Promise<Answer> {
  const components = await known(engine)
  const { data, text } = shown(components)
  if (add.length + remove.length === 0) return { data: { components: data }, text }
  const names = components.map(({ name }) => name)
  const stranger = [...add, ...remove].find((name) => !names.includes(name))
  if (stranger !== undefined)
    throw new LauncherError('LA_USAGE', `There is no component "${stranger}"`, {
      hint: names.length === 0 ? 'This release has none' : `It has: ${names.join(', ')}`,
    })
  const before = Object.fromEntries(components.map(({ name, isChosen }) => [name, isChosen]))
  const { groups, ...rest } = settings
  const kept = groups === undefined ? settings.components : before
  const answers = [...add.map((name) => [name, true] as const), ...remove.map((name) => [name, false] as const)]
  const changed = { ...rest, components: { ...kept, ...Object.fromEntries(answers) } }
  await keepSettings(folder, changed)
  const result = await createEngine({ ...toEngineOptions(folder, changed), env }).update({ signal })
  const after = shown(await known(createEngine(toEngineOptions(folder, changed))))
  return { data: { components: after.data, update: updateData(result) }, text: `${updateText(result)}\n${after.text}` }
}
