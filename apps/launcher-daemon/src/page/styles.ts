import type { PageBrand } from './brand.ts'

/** Looks of the page: light and dark by the system, from a phone's width to 900 by 560 and beyond. */
export const pageStyles = `
:root { color-scheme: light dark; --ground: #f4f5f7; --panel: #ffffff; --ink: #1b1f27; --soft: #545c6b;
  --line: #d5d9e0; --lead: #1f5fbf; --on-lead: #ffffff; --good: #1c7a3e; --care: #8a5a00; --bad: #b3261e;
  --bad-ground: #fdecea }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --panel: #1d2128; --ink: #e8ebf0; --soft: #a3acba;
  --line: #343b46; --lead: #7fb0ff; --on-lead: #0b1a33; --good: #6fd596; --care: #f0c060; --bad: #ff9d94;
  --bad-ground: #3a1e1c } }
* { box-sizing: border-box }
html, body { height: 100% }
body { margin: 0; display: flex; flex-direction: column; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "Noto Sans", sans-serif }
header { display: flex; align-items: baseline; gap: 1rem; flex-wrap: wrap; padding: .9rem 1.25rem;
  border-bottom: 1px solid var(--line); background: var(--panel) }
#logo { height: 2.2rem; width: auto; max-width: 12rem; object-fit: contain; align-self: center }
h1 { font-size: 1.15rem; margin: 0; font-weight: 650 }
h2 { font-size: 1.05rem; margin: 0 0 .6rem; font-weight: 600 }
header p { margin: 0; color: var(--soft) }
main { flex: 1; min-height: 0; display: grid; gap: 1rem; padding: 1rem 1.25rem }
main { grid-template-columns: minmax(0, 1fr) minmax(0, 25rem) }
section { background: var(--panel); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem;
  min-width: 0; overflow: auto }
.news { display: flex; flex-direction: column; order: -1 }
#notes { overflow: auto; overflow-wrap: anywhere }
#notes h3 { font-size: 1rem; margin: .8rem 0 .3rem }
#notes p, #notes ul, #notes ol { margin: .3rem 0 .6rem }
#notes ul, #notes ol { padding-left: 1.2rem }
#notes a { color: inherit }
#notes table { border-collapse: collapse; margin: .3rem 0 .6rem; display: block; overflow-x: auto }
#notes th, #notes td { border: 1px solid var(--line); padding: .2rem .6rem; text-align: start }
#banner { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; justify-content: space-between;
  margin: 1rem 1.25rem 0; padding: .7rem 1rem; border-radius: .6rem; border: 1px solid var(--line);
  background: var(--panel) }
#banner.bad { border-color: var(--bad); background: var(--bad-ground); color: var(--bad) }
#banner.care { border-color: var(--care); color: var(--care) }
#result { margin: -.3rem 0 .6rem; color: var(--soft) } #result:empty { display: none }
progress { width: 100%; height: .8rem; accent-color: var(--lead) }
#figures { margin: .3rem 0 .8rem; color: var(--soft); font-variant-numeric: tabular-nums; min-height: 1.5em }
.buttons { display: flex; flex-wrap: wrap; gap: .5rem; margin: .4rem 0 1rem }
button { font: inherit; padding: .45rem .95rem; border-radius: .45rem; border: 1px solid var(--line);
  background: var(--panel); color: var(--ink); cursor: pointer }
button:hover:not(:disabled) { border-color: var(--lead) }
button:disabled { opacity: .5; cursor: default }
button.main { background: var(--lead); color: var(--on-lead); border-color: var(--lead); font-weight: 650 }
button.main { padding: .6rem 2.4rem; font-size: 1.1rem }
:focus-visible { outline: 3px solid var(--lead); outline-offset: 2px }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1rem; margin: 0 0 .8rem }
dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
#trust-mark { display: inline-block; width: .65rem; height: .65rem; border-radius: 50%; margin-right: .5rem;
  background: var(--soft) }
#trust-mark.current { background: var(--good) } #trust-mark.stale, #trust-mark.forked { background: var(--care) }
  #trust-mark.barred { background: var(--bad) }
.fields { display: grid; gap: .5rem 1rem; align-items: center; padding-top: .6rem }
.fields { grid-template-columns: minmax(0, 1fr) minmax(0, 11rem) }
input, select { font: inherit; padding: .3rem .5rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--ground); color: var(--ink); min-width: 0 }
input[aria-invalid] { border-color: var(--bad) } .fields .bad { grid-column: 1 / -1; color: var(--bad) }
small { color: var(--soft) } summary { cursor: pointer } details { margin-top: .6rem }
.parts { display: grid; gap: .3rem; margin: .4rem 0 }
.parts label { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; gap: .6rem; align-items: baseline }
fieldset { border: 1px solid var(--line); border-radius: .5rem; margin: .9rem 0 .6rem; padding: .4rem .8rem .6rem }
input[type=checkbox] { justify-self: start; accent-color: var(--lead); width: 1.05rem; height: 1.05rem; margin: 0 }
.hours { grid-column: 1 / -1; justify-content: end; display: flex; flex-wrap: wrap; gap: .5rem; align-items: center }
fieldset { min-width: 0 }
#waiting { display: flex; flex-wrap: wrap; gap: .5rem .8rem; align-items: center; margin: 0 0 .8rem }
#setup-look { margin: .6rem 0 0 } #setup-look:empty, #setup-figures:empty { display: none }
#setup-look.bad { color: var(--bad) } #setup-figures { margin: .6rem 0; color: var(--soft) }
#setup .fields { grid-template-columns: minmax(0, 1fr) } #setup-error { color: var(--bad); margin: .6rem 0 0 }
.skip { position: absolute; left: -100rem } .skip:focus { left: 1rem; top: .5rem; background: var(--panel);
  padding: .4rem .8rem; z-index: 1 }
[hidden] { display: none !important }
@media (max-width: 640px) {
  html, body { height: auto }
  main { grid-template-columns: minmax(0, 1fr); padding: .8rem } .news { order: 0 }
  header { padding: .8rem } #banner { margin: .8rem .8rem 0 }
  .buttons button { flex: 1 1 8rem } .buttons .main { flex-basis: 100% }
  .facts { grid-template-columns: minmax(0, 1fr) } dd { margin-bottom: .4rem }
  .fields, #setup .fields { grid-template-columns: minmax(0, 1fr) } .fields > span:empty { display: none }
}
`

/** Whether black or white is easier to read on a color (WCAG relative luminance). */
function inkOn(color: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5]
    .map((at) => parseInt(color.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#000000' : '#ffffff'
}

/** Color and background of a studio's page. */
export function brandStyles(brand?: PageBrand): string {
  const { accent, background } = brand ?? {}
  const lead = accent === undefined ? '' : `:root { --lead: ${accent}; --on-lead: ${inkOn(accent)} }\n`
  const art =
    background === undefined
      ? ''
      : `body { background: var(--ground) url("/background") center / cover no-repeat fixed }
section, header { background: color-mix(in srgb, var(--panel) 90%, transparent) }
`
  return lead + art
}
