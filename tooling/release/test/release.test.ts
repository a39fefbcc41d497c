import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { licenceLines, listArtifacts, requireSameBytes, stableBill } from '../artifacts.ts'
import { members, root } from '../../checks/workspace.ts'
import { shippedDocuments } from '../../pack/shipped-documents.ts'
import { announce, announced } from '../announce.ts'
import * as changelog from '../changelog.ts'
import {
  controlFile,
  debianChangelog,
  newestSection,
  POSTINST,
  POSTRM,
  settingsFile,
  unitFile,
} from '../debian-texts.ts'
import { serverHelps, serverManual } from '../manual.ts'
import { contents, firstChangelog, introduction } from '../first-changelog.ts'
import { installedNames, withoutNotYet } from '../not-yet.ts'
import { VERSION_PLACES, withVersion } from '../version-places.ts'

const operations = join(import.meta.dirname, '../../../docs/operations/files')
const README = `# @keyturn/kel

Key event logs. Two [links](docs/a.md) here,
on two lines.

**Second** paragraph.

## Install

Not on npm yet: until the first release, use it from a checkout of this repository.

\`\`\`sh
npm install @keyturn/kel
\`\`\`
`

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'keyturn-release-test-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true, force: true })
})

describe('the first changelog', () => {
  it('says what the package is, without links that lead nowhere', () => {
    const text = firstChangelog('@keyturn/kel', '0.1.0', README)
    expect(text).toContain('# @keyturn/kel\n\n## 0.1.0\n\nThe first release.\n\nKey event logs. Two links here,')
    expect(text).toContain('**Second** paragraph.')
    expect(text).not.toContain('Install')
  })

  it('refuses a README that does not say what the package is', () => {
    expect(() => introduction('# Title\n\n## Install\n\nnpm install\n')).toThrow('has no introduction')
  })

  it('has neither commands nor the note that it is not on npm', () => {
    const text = introduction(README.replace('## Install\n\n', ''))
    expect(text).not.toMatch(/npm/)
    expect(text).toMatch(/paragraph\.$/)
  })

  it('lists what the table of the README has', () => {
    const table =
      '## What there is\n\n| call | does |\n|---|---|\n| `a`, `b` (`/x`) | one \\| two |\n| c | d ([guide](x.md)) |\n\nMore | x |\n'
    expect(firstChangelog('n', '0.1.0', `# n\n\nIt is.\n\n${table}`)).toContain(
      'It is.\n\nIn this version:\n\n- `a`, `b` (`/x`): one | two\n- c: d\n\nEverything',
    )
    expect(contents(README)).toEqual([])
  })

  it('can be written for every package that is published', () => {
    for (const { path, manifest } of members()) {
      const text = firstChangelog(manifest.name, '0.1.0', readFileSync(join(path, 'README.md'), 'utf8'))
      expect(text, manifest.name).not.toMatch(/npm|```|\]\(/)
      expect(text.split('\n').length, manifest.name).toBeGreaterThan(10)
    }
  })

  it('removes the note that there is no release, and nothing else', () => {
    expect(withoutNotYet(README)).toBe(README.replace(/Not on npm.*\n\n/, ''))
    expect(withoutNotYet('A sentence: not on npm yet: stays.\n')).toBe('A sentence: not on npm yet: stays.\n')
  })
})

describe('later changelogs', () => {
  it('have an item for each change, and what the version needs, without hashes', () => {
    const change = { summary: 'One\n\nTwo', commit: '0123456789abcdef' }
    expect(changelog.getReleaseLine(change)).toBe('- One\n\n  Two')
    expect(changelog.getDependencyReleaseLine([change], [{ name: '@keyturn/kel', newVersion: '0.2.0' }])).toBe(
      '- Needs `@keyturn/kel` 0.2.0 or newer.',
    )
    expect(changelog.getDependencyReleaseLine([change], [])).toBe('')
  })
})

describe('the note "not on npm yet"', () => {
  it('is in no tarball: who reads that has it from npm', () => {
    for (const { group, folder } of members())
      for (const { path, text } of shippedDocuments(`${group}/${folder}`, undefined))
        expect(text, `${folder}/${path}`).not.toMatch(/^Not on npm yet/m)
  })

  it('goes when everything that the document installs is on npm', () => {
    expect(installedNames(`${README}\nnpx -y @keyturn/cli@0.1.0 init`)).toEqual(['@keyturn/kel', '@keyturn/cli'])
    expect(announced(README, new Set(['@keyturn/cli']))).toBe(README)
    expect(announced(README, new Set(['@keyturn/kel']))).toBe(withoutNotYet(README))
  })

  it('stays in every document as long as the registry lacks one package', () => {
    const asked: string[] = []
    const [{ manifest }] = members().slice(-1) as [ReturnType<typeof members>[number]]
    const lacksOne = (spec: string): boolean => (asked.push(spec), !spec.startsWith(manifest.name))
    expect(() => announce(lacksOne)).toThrow(`the registry does not have ${manifest.name}@${manifest.version}`)
    expect(asked).toHaveLength(members().length)
  })
})

describe('versions in documents', () => {
  it('are those of the packages, or the first one while there is none', () => {
    const versions = new Map(members().map(({ manifest: { name, version } }) => [name, version]))
    for (const place of VERSION_PLACES) {
      const version = versions.get(place.name)?.replace(/^0\.0\.0$/, '0.1.0') ?? ''
      const text = readFileSync(join(root, place.file), 'utf8')
      expect(withVersion(text, place, version), place.file).toBe(text)
      expect(withVersion(text, place, '7.8.9')).toContain('7.8.9')
      expect(() => withVersion('none here', place, version)).toThrow('names no version')
    }
  })
})

describe('artifacts', () => {
  it('are the same when they are packed twice, or the file that differs is named', () => {
    for (const name of ['one', 'other']) {
      mkdirSync(join(folder, name))
      writeFileSync(join(folder, name, 'a.tgz'), 'same')
    }
    const [one, other] = [join(folder, 'one'), join(folder, 'other')]
    expect(() => requireSameBytes(one, other)).not.toThrow()
    writeFileSync(join(other, 'a.tgz'), 'different')
    expect(() => requireSameBytes(one, other)).toThrow('different bytes: a.tgz')
    writeFileSync(join(other, 'b.tgz'), 'more')
    expect(() => requireSameBytes(one, other)).toThrow('different files')
  })

  it('are listed with their digests, below folders too, and without the sums themselves', () => {
    mkdirSync(join(folder, 'tarballs'))
    writeFileSync(join(folder, 'tarballs/a.tgz'), 'abc')
    writeFileSync(join(folder, 'SHA256SUMS'), '')
    const sha256 = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    expect(listArtifacts(folder)).toEqual([{ path: 'tarballs/a.tgz', bytes: 3, sha256 }])
  })

  it('have a bill of materials that depends on its content alone', () => {
    const bill = (timestamp: string, serialNumber: string, name = 'a') =>
      stableBill(JSON.stringify({ serialNumber, metadata: { timestamp }, components: [{ name }] }), 1000)
    expect(bill('2026-01-01T00:00:00Z', 'urn:uuid:1')).toBe(bill('2027-01-01T00:00:00Z', 'urn:uuid:2'))
    const numberOf = (text: string) => (JSON.parse(text) as { serialNumber: string }).serialNumber
    expect(numberOf(bill('', ''))).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(numberOf(bill('', '', 'b'))).not.toBe(numberOf(bill('', '')))
  })

  it('list each license once', () => {
    const entry = { name: 'b', versions: ['1.0.0', '2.0.0'] }
    expect(licenceLines({ MIT: [entry, entry], ISC: [{ name: 'a', versions: ['1.0.0'] }] })).toBe(
      'a\t1.0.0\tISC\nb\t1.0.0\tMIT\nb\t2.0.0\tMIT\n',
    )
  })
})

describe('the Debian package', () => {
  it('starts its own program with the hardening of the guide', () => {
    for (const name of ['keyturn-server.service', 'keyturn-head-signer.service']) {
      const unit = readFileSync(join(operations, name), 'utf8')
      expect(unitFile(unit)).toContain(
        'ExecStart=/usr/lib/keyturn-server/bin/node /usr/lib/keyturn-server/dist/main.js',
      )
      expect(unitFile(unit).split('\n').length).toBe(unit.split('\n').length)
    }
    expect(() => unitFile('[Service]\nExecStart=/bin/true\n')).toThrow('does not start')
  })

  it('has settings that hold everywhere, and trusts no proxy', () => {
    const settings = JSON.parse(settingsFile(readFileSync(join(operations, 'settings.json'), 'utf8'))) as object
    expect(settings).toMatchObject({ KEYTURN_HOST: '127.0.0.1', KEYTURN_DATA_DIR: '/var/lib/keyturn' })
    expect(settings).not.toHaveProperty('KEYTURN_TRUST_PROXY')
    expect(() => settingsFile('{}')).toThrow('lack KEYTURN_DATA_DIR')
  })

  it('replaces no passphrase, and its purge deletes nothing', () => {
    expect(POSTINST).toContain('if [ ! -e /etc/keyturn/passphrase ]')
    expect(POSTRM).not.toMatch(/\brm\b|userdel|deluser/)
  })

  it('states its size and what it needs', () => {
    const [homepage, reports] = ['https://host.example/keyturn', 'https://host.example/keyturn/issues']
    const text = controlFile({ version: '0.1.0', architecture: 'amd64', bytes: 2049, homepage, reports })
    expect(text).toMatch(/Installed-Size: 3\nDepends: libc6/)
    expect(text).toContain(`Maintainer: The Keyturn project <${reports}>\nHomepage: ${homepage}\n`)
  })

  it('has a changelog that Debian reads', () => {
    const section = 'The first release.\n\n- **One** `two`\n- three\n'
    expect(newestSection(`# name\n\n## 0.2.0\n\n${section}\n## 0.1.0\n\nold`)).toBe(section.trim())
    const reports = 'https://host.example/issues'
    const text = debianChangelog({ version: '0.2.0', section: `${section}${'word '.repeat(40)}`, reports, timeMs: 0 })
    expect(text).toMatch(
      /^keyturn-server \(0\.2\.0\) stable; urgency=medium\n\n {2}\* The first release\.\n {2}\* One two\n/,
    )
    expect(text).toContain(`\n\n -- The Keyturn project <${reports}>  Thu, 01 Jan 1970 00:00:00 +0000\n`)
    for (const line of text.split('\n').slice(0, -2)) expect(line.length).toBeLessThanOrEqual(78)
    expect(text.split('\n').filter((line) => /^ {4}word/.test(line)).length).toBeGreaterThan(1)
  })

  it('has a manual page with every command', () => {
    const folder = mkdtempSync(join(tmpdir(), 'keyturn-manual-'))
    const main = join(folder, 'main.cjs')
    const helps = {
      '': 'Usage: x\n\nCommands:\n  token  tokens\n  help   help\n',
      token: '\nCommands:\n  revoke <id>  end it\n',
    }
    writeFileSync(main, `console.log(${JSON.stringify(helps)}[process.argv.slice(2, -1).join(' ')] ?? 'no more')`)
    const page = serverManual('0.1.0', serverHelps(process.execPath, main))
    rmSync(folder, { recursive: true })
    expect(page.match(/^\.SS .*$/gm)).toEqual(
      ['', ' token', ' token revoke'].map((name) => `.SS keyturn\\-server${name}`),
    )
    // What begins with a dot or an apostrophe would be taken for a macro.
    expect(serverManual('1', [{ command: '', text: '.so /etc/passwd\n\\fB-x' }])).toContain(
      '\n\\&.so /etc/passwd\n\\efB\\-x\n',
    )
  })
})
