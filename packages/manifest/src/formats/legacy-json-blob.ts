import type { ReleaseFormat } from './release-format.ts'

/** The original format: plain files, no archives, no runtime key. */
export const legacyJsonBlob: ReleaseFormat = {
  name: 'legacy-json-blob',
  runtimeKey: 'none',
  isOpaque: () => false,
  check: () => undefined,
}
