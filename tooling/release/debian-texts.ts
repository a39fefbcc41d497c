/** The files of the Debian package of the server that are not programs. */

/** Files that belong to the operator: an upgrade never replaces what they changed. */
export const CONFFILES: readonly string[] = ['/etc/keyturn/settings.json']

/** The users of the server. Its number is chosen by the system. */
export const SYSUSERS = 'u keyturn - "Keyturn release server" /var/lib/keyturn\n'

export const COPYRIGHT = `Keyturn is copyright of the authors of Keyturn, under the Apache License 2.0. On Debian
systems, its full text is in /usr/share/common-licenses/Apache-2.0.

What is below usr/lib/keyturn-server/node_modules is copyright of its authors. Each folder has its own license, and
licenses.tsv of the release lists them.

usr/lib/keyturn-server/bin/node is copyright of the authors of Node.js and of what it includes, under the MIT license
and others: /usr/share/doc/keyturn-server/LICENSE.node has the full text.
`

/** Creates what the service needs and a purge leaves: the user, the folder of the data, the passphrase of its keys. */
export const POSTINST = `#!/bin/sh
set -e
if [ "$1" = configure ]; then
  systemd-sysusers keyturn-server.conf
  [ -d /var/lib/keyturn ] || install -d -m 0700 -o keyturn -g keyturn /var/lib/keyturn
  # Runtime keys are sealed with it. One that exists is never replaced: the data would be unreadable.
  if [ ! -e /etc/keyturn/passphrase ]; then
    (umask 0077 && head -c 32 /dev/urandom | base64 > /etc/keyturn/passphrase.new)
    mv /etc/keyturn/passphrase.new /etc/keyturn/passphrase
  fi
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # An upgrade starts the new version if the old one was running. A first install starts nothing: set it up first.
    if [ -n "$2" ]; then systemctl try-restart keyturn-server.service; fi
  fi
  if [ -z "$2" ]; then
    echo "keyturn-server: edit /etc/keyturn/settings.json, then run: systemctl enable --now keyturn-server"
  fi
fi
`

export const PRERM = `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl disable --now keyturn-server.service
fi
`

export const POSTRM = `#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
if [ "$1" = purge ]; then
  for left in /var/lib/keyturn /etc/keyturn/passphrase; do
    if [ -e "$left" ]; then echo "keyturn-server: $left is kept; delete it yourself if nobody needs the releases"; fi
  done
fi
`

/** What `DEBIAN/control` says that differs between packages. */
export interface ControlFacts {
  readonly version: string
  readonly architecture: string
  /** Size of what is installed. */
  readonly bytes: number
  /** Where the sources are, and where to report what is wrong. */
  readonly homepage: string
  readonly reports: string
}

/** `DEBIAN/control`. */
export function controlFile({ version, architecture, bytes, homepage, reports }: ControlFacts): string {
  return `Package: keyturn-server
Version: ${version}
Architecture: ${architecture}
Maintainer: The Keyturn project <${reports}>
Homepage: ${homepage}
Installed-Size: ${Math.ceil(bytes / 1024)}
Depends: libc6 (>= 2.28), libgcc-s1, libstdc++6, systemd | systemd-standalone-sysusers | systemd-sysusers
Recommends: ca-certificates
Suggests: caddy | nginx
Section: net
Priority: optional
Description: release server to which you publish, and from which launchers update
 It serves signed releases as static files, and publishes nothing that a
 launcher would refuse. By default it needs one folder and one SQLite file.
 .
 The package has a Node of its own, because Debian's may be too old.
`
}

/** A unit of the operations guide that starts the program of the package. */
export function unitFile(unit: string): string {
  const start = '/usr/bin/node /opt/keyturn-server/dist/main.js'
  if (!unit.includes(start)) throw new Error(`A unit of docs/operations/files does not start ${start}`)
  return unit.replace(start, '/usr/lib/keyturn-server/bin/node /usr/lib/keyturn-server/dist/main.js')
}

/** Settings that hold on every machine: the address, the proxy and the head signer are the operator's to add. */
export function settingsFile(example: string): string {
  const all = JSON.parse(example) as Readonly<Record<string, unknown>>
  const kept = ['KEYTURN_DATA_DIR', 'KEYTURN_HOST', 'KEYTURN_PORT', 'KEYTURN_PASSPHRASE_FILE']
  const missing = kept.filter((name) => !(name in all))
  if (missing.length > 0) throw new Error(`The example settings lack ${missing.join(', ')}`)
  return `${JSON.stringify(Object.fromEntries(kept.map((name) => [name, all[name]])), null, 2)}\n`
}

/** What `debian/changelog` says of one version. */
export interface ChangelogFacts {
  readonly version: string
  /** Section of that version in CHANGELOG.md, without its heading. */
  readonly section: string
  readonly reports: string
  /** Time of the commit that is built. */
  readonly timeMs: number
}

const WIDTH = 78

/** A text in lines of at most `WIDTH` columns, the first one after `first`, the others after as many blanks. */
function wrapped(text: string, first: string): string[] {
  const lines: string[] = []
  let line = first
  for (const word of text.split(/\s+/)) {
    if (line.trim() !== '' && line.length + 1 + word.length > WIDTH && line !== first) {
      lines.push(line)
      line = ' '.repeat(first.length - 1)
    }
    line += line === first ? word : ` ${word}`
  }
  return [...lines, line]
}

/** The changelog as Debian's tools read it: an item for each paragraph and list item of the section. */
export function debianChangelog({ version, section, reports, timeMs }: ChangelogFacts): string {
  const items = section
    .split(/\n\n+|\n(?=- )/)
    .map((part) =>
      part
        .replace(/^(?:- |#+ )/, '')
        .replace(/\*\*|`/g, '')
        .trim(),
    )
    .filter((part) => part !== '' && !/^(?:Major|Minor|Patch) Changes$/.test(part))
  return [
    `keyturn-server (${version}) stable; urgency=medium`,
    '',
    ...items.flatMap((item) => wrapped(item, '  * ')),
    '',
    // "Tue, 01 Dec 2026 14:00:00 +0000"
    ` -- The Keyturn project <${reports}>  ${new Date(timeMs).toUTCString().replace('GMT', '+0000')}`,
    '',
  ].join('\n')
}

/** The newest section of a CHANGELOG.md. */
export function newestSection(changelog: string): string {
  return (changelog.split(/^## .*$/m)[1] ?? '').trim()
}
