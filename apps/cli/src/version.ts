/** The version of this package, read from its manifest. */
export function version(): string {
  // Importing a built-in module takes longer than all else that `--version` does.
  const { readFileSync } = process.getBuiltinModule('node:fs')
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest ? String(manifest.version) : '0.0.0'
}

/**
 * Writes the version to the standard output, without the stream of Node, which takes 4 ms to make.
 *
 * @returns Whether it could be written; a pipe may be full, or its reader gone.
 */
export function printVersion(): boolean {
  try {
    process.getBuiltinModule('node:fs').writeSync(1, `${version()}\n`)
    return true
  } catch {
    return false
  }
}
