/** The theme of VitePress, with room for wide pictures on the first page. */
import DefaultTheme from 'vitepress/theme'
import './style.css'

export { DefaultTheme as default }
