import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { licenceLines, listArtifacts, requireSameBytes, stableBill } from '../artifacts.ts'
import { withoutNotYet } from '../cut-version.ts'
import { controlFile, POSTINST, POSTRM, settingsFile, unitFile } from '../debian-texts.ts'
import { serverHelps, serverManual } from '../manual.ts'
import { firstChangelog, introduction } from '../first-changelog.ts'

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

  it('removes the note that there is no release, and nothing else', () => {
    expect(withoutNotYet(README)).toBe(README.replace(/Not on npm.*\n\n/, ''))
    expect(withoutNotYet('A sentence: not on npm yet: stays.\n')).toBe('A sentence: not on npm yet: stays.\n')
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
