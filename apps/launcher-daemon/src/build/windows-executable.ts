import { LauncherBuildError } from './errors.ts'
import { BLOB_NAME, FUSE } from './sea-blob.ts'

type ResourceEntries = import('resedit').NtExecutableResource['entries']

/** What players see in the properties of the file. */
export interface WindowsIdentity {
  readonly name: string
  readonly publisher: string
  /** Three numbers. */
  readonly version: string
  readonly fileName: string
}

const RT_RCDATA = 10
const LANG_EN_US = 1033
const UTF16 = 1200
const SUBSYSTEM_GUI = 2

/**
 * Puts the blob, icon and version information into a Windows Node executable, marks it as a program with a window, and
 * drops Node's own signature, which no longer fits. Pure JavaScript: works on every system.
 *
 * @param node - Bytes of `node.exe`.
 * @param icon - Bytes of an `.ico` file, already checked.
 * @returns The bytes of the executable, the same for the same input; unsigned.
 */
export async function makeWindowsExecutable(
  node: Uint8Array,
  blob: Uint8Array,
  icon: Uint8Array,
  identity: WindowsIdentity,
): Promise<Uint8Array> {
  const { Data, NtExecutable, NtExecutableResource, Resource } = await import('resedit')
  const executable = NtExecutable.from(ownBuffer(node), { ignoreCert: true })
  executable.newHeader.optionalHeader.subsystem = SUBSYSTEM_GUI
  const resources = NtExecutableResource.from(executable)
  const icons = Data.IconFile.from(ownBuffer(icon)).icons.map(({ data }) => data)
  Resource.IconGroupEntry.replaceIconsForResource(resources.entries, 1, LANG_EN_US, icons)
  describe(resources.entries, Resource, identity)
  resources.entries.push({ type: RT_RCDATA, id: BLOB_NAME, lang: 0, codepage: 0, bin: ownBuffer(blob) })
  resources.outputResource(executable)
  return flipFuse(new Uint8Array(executable.generate()))
}

/** resedit reads `ArrayBuffer`s from their start. */
function ownBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}

function describe(
  entries: ResourceEntries,
  Resource: (typeof import('resedit'))['Resource'],
  { name, publisher, version, fileName }: WindowsIdentity,
): void {
  const [info] = Resource.VersionInfo.fromEntries(entries)
  if (info === undefined) throw new LauncherBuildError('LB_RUNTIME', 'The Node executable has no version information')
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number)
  info.setFileVersion(major, minor, patch, 0, LANG_EN_US)
  info.setProductVersion(major, minor, patch, 0, LANG_EN_US)
  info.setStringValues(
    { lang: LANG_EN_US, codepage: UTF16 },
    {
      CompanyName: publisher,
      FileDescription: name,
      FileVersion: version,
      InternalName: name,
      LegalCopyright: publisher,
      OriginalFilename: fileName,
      ProductName: name,
      ProductVersion: version,
    },
  )
  info.outputToResourceEntries(entries)
}

/** Tells Node that a blob is inside. */
function flipFuse(executable: Uint8Array): Uint8Array {
  const view = Buffer.from(executable.buffer, executable.byteOffset, executable.length)
  const at = view.indexOf(`${FUSE}:0`)
  if (at < 0 || view.indexOf(`${FUSE}:`, at + 1) >= 0)
    throw new LauncherBuildError('LB_RUNTIME', 'The Node executable cannot carry an application: no single fuse in it')
  executable[at + FUSE.length + 1] = 0x31
  return executable
}
