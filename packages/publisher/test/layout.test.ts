import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { planLayout } from '../src/tree/layout.ts'
import type { LayoutRules } from '../src/tree/layout.ts'
import { planProject } from '../src/project/project-plan.ts'
import { readProject } from '../src/project/project.ts'
import { prepareRelease } from '../src/release/prepare-release.ts'
import { packTree } from '../src/tree/archives.ts'
import { HomeWorld, NOW_MS } from './support/home-world.ts'

const FILES = [
  'Game.exe',
  'bin/linux/run',
  'bin/win/a.dll',
  'textures/a.dds',
  'textures/fx/b.dds',
  'voices/common.ogg',
  'voices/de/hello.ogg',
]

const RULES: LayoutRules = {
  archives: [{ path: 'pack/textures.m2p', include: ['textures/**'], root: undefined }],
  plain: ['*.exe', 'bin/**'],
  platforms: { windows: ['bin/win/**', '*.exe'], linux: ['bin/linux/**'] },
  components: [{ name: 'voices-de', title: 'German voices', include: ['voices/de/**'], default: false }],
}

const codeOf = (rules: LayoutRules, files: readonly string[] = FILES): string => {
  try {
    planLayout(files, rules)
    return 'planned'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('planLayout()', () => {
  it('makes an archive of each top folder without rules', () => {
    const { archives, loose, unused } = planLayout(FILES)
    expect(archives.map(({ path, root, files }) => [path, root, files.length])).toEqual([
      ['pack/bin.m2p', 'bin', 2],
      ['pack/textures.m2p', 'textures', 2],
      ['pack/voices.m2p', 'voices', 2],
    ])
    expect(loose.map(({ path }) => path)).toEqual(['Game.exe'])
    expect(unused).toEqual([])
  })

  it('packs what a rule says, keeps plain files as they are, and gives components and platforms archives of their own', () => {
    const { archives, loose, unused } = planLayout(FILES, RULES)
    const none = { platform: undefined, group: undefined }
    expect(archives).toEqual([
      { path: 'pack/textures.m2p', root: '', files: ['textures/a.dds', 'textures/fx/b.dds'], ...none },
      { path: 'pack/voices.m2p', root: 'voices', files: ['common.ogg'], ...none },
      { path: 'pack/voices.voices-de.m2p', root: 'voices', files: ['de/hello.ogg'], ...none, group: 'voices-de' },
    ])
    expect(loose).toEqual([
      { path: 'Game.exe', group: undefined, platform: 'windows' },
      { path: 'bin/linux/run', group: undefined, platform: 'linux' },
      { path: 'bin/win/a.dll', group: undefined, platform: 'windows' },
    ])
    expect(unused).toEqual([])
  })

  it('names files of an archive from its root, and reports rules that fit nothing', () => {
    const { archives, unused } = planLayout(FILES, {
      archives: [
        { path: 'fx.m2p', include: ['textures/fx/**'], root: 'textures/fx' },
        { path: 'empty.m2p', include: ['none/**'], root: undefined },
      ],
      plain: ['*.txt'],
      platforms: { macos: ['*.dylib'] },
      components: [{ name: 'art', title: 'Art', include: ['art/**'], default: true }],
    })
    expect(archives.find(({ path }) => path === 'fx.m2p')?.files).toEqual(['b.dds'])
    expect(unused).toEqual(['archive "empty.m2p"', '"*.txt" of "plain"', 'platform "macos"', 'component "art"'])
  })

  it('refuses a file that two rules take, and an archive that is not of one kind (BUILD_CLAIM) (row 352)', () => {
    const archive = (path: string, ...include: string[]) => ({ path, include, root: undefined })
    const component = (name: string, ...include: string[]) => ({ name, title: name, include, default: true })
    expect(codeOf(RULES)).toBe('planned')
    for (const rules of [
      { archives: [archive('a.m2p', 'textures/**'), archive('b.m2p', '**/a.dds')] },
      { platforms: { windows: ['bin/**'], linux: ['bin/linux/**'] } },
      { components: [component('a', 'voices/**'), component('b', 'voices/de/**')] },
      { archives: [archive('voices.m2p', 'voices/**')], components: [component('a', 'voices/de/**')] },
      { archives: [archive('x.m2p', 'bin/**')], platforms: { linux: ['bin/linux/**'] } },
      { archives: [archive('pack/voices.m2p', 'textures/**')] },
      { archives: [{ path: 'x.m2p', include: ['textures/**'], root: 'voices' }] },
    ])
      expect(codeOf(rules), JSON.stringify(rules)).toBe('BUILD_CLAIM')
    expect(codeOf({ archives: [archive('pack/../../x.m2p', 'textures/**')] })).toBe('MAN_PATH')
    expect(codeOf({ components: [component('a', 'v/x/**')] }, ['v/x/1', 'v.a/2'])).toBe('BUILD_CLAIM')
  })
})

describe('a project file', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'keyturn-project-'))
    for (const path of FILES) {
      await mkdir(dirname(join(folder, 'client', path)), { recursive: true })
      await writeFile(join(folder, 'client', path), path)
    }
  })
  afterEach(() => rm(folder, { recursive: true, force: true }))

  const write = async (members: object): Promise<string> => {
    const file = join(folder, 'keyturn.json')
    await writeFile(file, JSON.stringify({ schema: 1, source: 'client', ...members }))
    return file
  }
  const DESCRIBED = {
    archives: [{ path: 'pack/textures.m2p', include: ['textures/**'] }],
    plain: ['*.exe', 'bin/**'],
    platforms: { windows: ['bin/win/**'], linux: ['bin/linux/**'] },
    components: { 'voices-de': { title: 'German voices', include: ['voices/de/**'], default: false } },
    requires: { freeBytes: 1_000_000, os: ['windows', 'linux'] },
    program: { windows: 'Game.exe', linux: 'bin/linux/run' },
  }

  it('says who gets which file, and the manifest repeats it', async () => {
    const project = await readProject(await write(DESCRIBED))
    const { layout, selection, warnings } = await planProject(project)
    expect(warnings).toEqual([])
    const world = await HomeWorld.create()
    try {
      const home = await world.home()
      const tree = join(folder, 'tree')
      const { signal } = world
      await packTree(home, { input: project.source, output: tree, selection, layout: project.layout, signal, jobs: 1 })
      const { manifest } = await prepareRelease(home, {
        tree,
        channel: 'stable',
        layout,
        components: project.layout.components,
        requires: project.requires,
        program: project.program,
        nowMs: NOW_MS,
        signal,
      })
      expect(manifest.files.map(({ path, platform, group }) => [path, platform, group])).toEqual([
        ['Game.exe', 'all', undefined],
        ['bin/linux/run', 'linux', undefined],
        ['bin/win/a.dll', 'windows', undefined],
        ['pack/textures.m2p', 'all', undefined],
        ['pack/voices.m2p', 'all', undefined],
        ['pack/voices.voices-de.m2p', 'all', 'voices-de'],
      ])
      expect(manifest.components).toEqual([{ name: 'voices-de', title: 'German voices', default: false }])
      expect(manifest.requires).toEqual({ freeBytes: 1_000_000, os: ['windows', 'linux'] })
    } finally {
      await world.remove()
    }
  })

  it.each([
    ['a member of an archive', { archives: [{ path: 'a.m2p', includes: ['x'] }] }],
    ['an archive without files', { archives: [{ path: 'a.m2p' }] }],
    ['an archive of another kind', { archives: [{ path: 'a.zip', include: ['x'] }] }],
    ['a list of archives', { archives: {} }],
    ['the name of a component', { components: { 'Voices DE': { include: ['x'] } } }],
    ['a component without files', { components: { de: { title: 'German' } } }],
    ['the default of a component', { components: { de: { include: ['x'], default: 'no' } } }],
    ['a platform', { platforms: { dos: ['x'] } }],
    ['free bytes', { requires: { freeBytes: -1 } }],
    ['an operating system', { requires: { os: ['dos'] } }],
    ['a root outside', { archives: [{ path: 'a.m2p', include: ['x'], root: '../x' }] }],
  ])('is refused for %s (PRJ_FORMAT)', async (_what, members) => {
    await expect(readProject(await write(members))).rejects.toMatchObject({ code: 'PRJ_FORMAT' })
  })

  it.each([
    ['is missing', { program: { windows: 'game.exe' } }, 'Did you mean "Game.exe"?'],
    ['is packed', { program: { linux: 'bin/linux/run' } }, 'plain'],
    ['is of another platform', { program: { linux: 'Game.exe' }, platforms: { windows: ['*.exe'] } }, 'platform'],
    ['can be left out', { program: { windows: 'Game.exe' }, components: { a: { include: ['*.exe'] } } }, 'components'],
  ])('is refused before packing when its program %s (PRJ_FORMAT)', async (_what, members, hint) => {
    const project = await readProject(await write(members))
    await expect(planProject(project)).rejects.toMatchObject({
      code: 'PRJ_FORMAT',
      hint: expect.stringContaining(hint),
    })
  })

  it('reports "keep" of packed files, and of none', async () => {
    const project = await readProject(await write({ keep: ['*.exe', 'voices/*.ogg', 'saves/**'] }))
    expect((await planProject(project)).warnings).toEqual([
      expect.stringContaining('no effect on "voices/common.ogg": it goes into archive "pack/voices.m2p"'),
      expect.stringContaining('fits "saves/**"'),
    ])
  })
})
