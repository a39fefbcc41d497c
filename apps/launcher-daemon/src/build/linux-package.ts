import { createGzip } from 'node:zlib'
import { buffer } from 'node:stream/consumers'
import type { PlayerConfig } from '../player-config.ts'

/** A file of the package. */
interface Member {
  readonly name: string
  readonly bytes: Uint8Array
  readonly mode: number
}

/** What a package is made of. */
export interface LinuxPackageParts {
  readonly config: PlayerConfig
  readonly executable: Uint8Array
  /** PNG, when the studio gave one. */
  readonly icon: Uint8Array | undefined
}

/** Characters that the value of a desktop entry or a shell word may not hold as they are. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", () => `'\\''`)}'`
}

/** The menu entry; `Exec` is written by install.sh, which knows the folder. */
function desktopEntry({ name, id }: PlayerConfig): string {
  return `[Desktop Entry]
Type=Application
Name=${name.replaceAll('\\', '\\\\')}
Exec="@EXEC@/${id}"
Icon=@ICON@/${id}.png
Categories=Game;
Terminal=false
`
}

function installScript({ id, name }: PlayerConfig): string {
  return `#!/bin/sh
# Installs ${name.replaceAll(/[^\p{L}\p{N} .-]/gu, ' ')} for this user below ~/.local.
# Run it again to update the launcher; "install.sh --remove" removes the launcher.
set -eu
from=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
data=\${XDG_DATA_HOME:-"$HOME/.local/share"}
folder=$data/${id}/launcher
entry=$data/applications/${id}.desktop
if [ "\${1:-}" = --remove ]; then
  rm -rf -- "$folder"
  rm -f -- "$entry"
  echo ${shellWord(`${name} is removed. The game's own folder was left alone.`)}
  exit 0
fi
case $folder in *'
'*) echo 'The path of the data folder holds a line break; set XDG_DATA_HOME to another' >&2; exit 1 ;; esac
mkdir -p -- "$folder" "$data/applications"
cp -- "$from/${id}" "$folder/${id}.new"
chmod 755 "$folder/${id}.new"
mv -f -- "$folder/${id}.new" "$folder/${id}"
if [ -f "$from/${id}.png" ]; then cp -- "$from/${id}.png" "$folder/${id}.png"; fi
# A value of a desktop entry doubles its backslashes; the words of Exec are quoted before that, and have no fields.
value() { sed 's/\\\\/\\\\\\\\/g'; }
word() { sed 's/[\\\\"\`$]/\\\\&/g; s/%/%%/g' | value; }
quoted() { sed 's/[&\\\\|]/\\\\&/g'; }
exec=$(printf '%s' "$folder" | word | quoted)
icon=$(printf '%s' "$folder" | value | quoted)
sed -e "s|@EXEC@|$exec|g" -e "s|@ICON@|$icon|g" "$from/${id}.desktop" > "$entry.new"
mv -f -- "$entry.new" "$entry"
echo ${shellWord(`${name} is installed and in the menu.`)}
`
}

/**
 * Packs a Linux launcher as `.tar.gz`: the executable, a menu entry, an icon and `install.sh`, which installs it below
 * `~/.local`.
 *
 * @returns Its bytes, the same for the same input.
 */
export async function makeLinuxPackage({ config, executable, icon }: LinuxPackageParts): Promise<Uint8Array> {
  const { pack } = await import('tar-stream')
  const text = new TextEncoder()
  const members: Member[] = [
    { name: config.id, bytes: executable, mode: 0o755 },
    { name: `${config.id}.desktop`, bytes: text.encode(desktopEntry(config)), mode: 0o644 },
    { name: 'install.sh', bytes: text.encode(installScript(config)), mode: 0o755 },
    ...(icon === undefined ? [] : [{ name: `${config.id}.png`, bytes: icon, mode: 0o644 }]),
  ]
  const archive = pack()
  const done = buffer(archive.pipe(createGzip({ level: 9 })))
  for (const { name, bytes, mode } of members) {
    const header = { name: `${config.id}-${config.version}/${name}`, mode, mtime: new Date(0), uid: 0, gid: 0 }
    await new Promise<void>((resolve, reject) => {
      archive.entry(header, Buffer.from(bytes), (error) => {
        if (error === undefined || error === null) resolve()
        else reject(error)
      })
    })
  }
  archive.finalize()
  return new Uint8Array(await done)
}
