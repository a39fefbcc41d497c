/** A terminal as a moving picture: an SVG that plays scene after scene, without a script. */

/** One command and what it printed. */
export interface Scene {
  readonly command: string
  readonly output: readonly string[]
}

const COLUMNS = 100
const ROWS = 19
const CHARACTER = 8.4
const LINE = 20
const MARGIN = 18
const BAR = 34
const SECONDS = 6
const TYPING_SECONDS = 1.2

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

/** Lines as a terminal of this width shows them. */
function folded(line: string): string[] {
  const parts: string[] = []
  let rest = line
  do {
    parts.push(rest.slice(0, COLUMNS))
    rest = rest.slice(COLUMNS)
  } while (rest !== '')
  return parts
}

/** A percentage of the whole film. */
const percent = (seconds: number, total: number): string => `${((100 * seconds) / total).toFixed(2)}%`

/**
 * The picture. Someone who asked their system for less movement sees the last scene.
 * @param title read aloud by a screen reader.
 */
export function terminalPicture(title: string, scenes: readonly Scene[]): string {
  const total = scenes.length * SECONDS
  const width = Math.ceil(2 * MARGIN + COLUMNS * CHARACTER)
  const height = BAR + ROWS * LINE + MARGIN
  const styles = scenes.map((_, index) => {
    const [start, answered, end] = [index * SECONDS, index * SECONDS + TYPING_SECONDS, (index + 1) * SECONDS]
    const shown = (name: string, from: number): string =>
      from === 0
        ? `@keyframes ${name}{0%,${percent(end - 0.05, total)}{opacity:1}${percent(end, total)},100%{opacity:0}}`
        : `@keyframes ${name}{0%,${percent(from - 0.05, total)}{opacity:0}${percent(from, total)},` +
          `${percent(end - 0.05, total)}{opacity:1}${percent(end, total)},100%{opacity:0}}`
    return [
      shown(`s${index}`, start),
      shown(`o${index}`, answered),
      `#s${index}{animation:s${index} ${total}s infinite}#o${index}{animation:o${index} ${total}s infinite}`,
    ].join('')
  })
  const still = scenes.map((_, index) =>
    index === scenes.length - 1 ? `#s${index},#o${index}{opacity:1}` : `#s${index}{opacity:0}`,
  )
  const label = escaped(title)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">
<style>
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#d7dce2;white-space:pre}
.c{fill:#8fd3a5;font-weight:600}.p{fill:#7f8a97}
${styles.join('\n')}
@media (prefers-reduced-motion:reduce){g{animation:none!important}${still.join('')}}
</style>
<rect width="${width}" height="${height}" rx="10" fill="#12161c"/>
<g fill="#3a424d"><circle cx="20" cy="18" r="5"/><circle cx="38" cy="18" r="5"/><circle cx="56" cy="18" r="5"/></g>
${scenes.map(oneScene).join('\n')}
</svg>
`
}

function oneScene({ command, output }: Scene, index: number): string {
  const lines = output.flatMap(folded).slice(0, ROWS - 2)
  const y = (row: number): number => BAR + 14 + row * LINE
  const texts = lines.map((line, row) => `<text x="${MARGIN}" y="${y(row + 1)}">${escaped(line)}</text>`)
  const typed = `<tspan class="p">$ </tspan><tspan class="c">${escaped(command)}</tspan>`
  return `<g id="s${index}"><text x="${MARGIN}" y="${y(0)}">${typed}</text>
<g id="o${index}">${texts.join('\n')}</g></g>`
}
