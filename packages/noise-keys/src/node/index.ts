export { folderDirectory } from './folder-directory.ts'
