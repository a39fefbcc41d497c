/** Style of the dashboard: readable in light and dark, visible focus, no fixed sizes. */
export const PAGE_STYLE = `
:root { color-scheme: light; --page: #f4f5f7; --card: #fff; --text: #1c2128; --soft: #57606a; --line: #d5d9df;
  --accent: #0b5cc4; --ok: #116329; --ok-back: #dcf3e1; --warn: #7a4a00; --warn-back: #fdf0d2; --bad: #a11a12;
  --bad-back: #fde3e1; --plain-back: #e8ebef; font: 15px/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { :root { color-scheme: dark; --page: #14171c; --card: #1d2127; --text: #e4e7eb;
  --soft: #a3abb5; --line: #363c45; --accent: #7fb2ff; --ok: #7ddc94; --ok-back: #16351f; --warn: #ffc766;
  --warn-back: #3a2b0b; --bad: #ff9a92; --bad-back: #42191a; --plain-back: #2a3038; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--page); color: var(--text); }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; align-items: center; padding: .6rem 1.2rem;
  background: var(--card); border-bottom: 1px solid var(--line); }
h1 { font-size: 1.15rem; margin: 0; } h2 { font-size: 1rem; margin: 0 0 .6rem; } h3 { font-size: 1rem; margin: 0; }
p { margin: 0; }
#who { margin-left: auto; font-family: ui-monospace, monospace; font-size: .85rem; }
nav { flex-basis: 100%; display: flex; gap: .2rem 1.1rem; flex-wrap: wrap; font-size: .9rem; } nav:empty {
  display: none; } nav a { color: var(--soft); text-decoration: none; } nav a:hover, nav a:focus-visible {
  color: var(--accent); text-decoration: underline; }
main { padding: 1.2rem 1.2rem 2rem; min-height: 80vh; max-width: 80rem; margin: auto; }
main:focus { outline: none; }
#board { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.2rem;
  align-items: start; }
section, .card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.2rem;
  min-width: 0; }
.wide { grid-column: 1 / -1; }
section .card { background: none; border: 0; border-top: 1px solid var(--line); border-radius: 0; padding: .9rem 0;
  display: grid; gap: .45rem; }
section .card:first-child { border-top: 0; padding-top: 0; } section .card:last-child { padding-bottom: 0; }
#nothing { max-width: 34rem; margin: 6vh auto 0; display: grid; gap: .6rem; }
form.card { max-width: 26rem; margin: 12vh auto 0; display: grid; gap: .6rem; }
input, select, button { font: inherit; color: inherit; }
input:not([type=range]), select { padding: .4rem .6rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--page); }
button { padding: .35rem .9rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--plain-back);
  cursor: pointer; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--card); font-weight: 600; }
button.danger { color: var(--bad); border-color: var(--bad); background: none; }
button.small { padding: .05rem .6rem; font-size: .85rem; }
button:disabled { opacity: .5; cursor: default; }
input[type=range] { accent-color: var(--accent); flex: 1 1 12rem; max-width: 24rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-top: 1px solid var(--line); vertical-align: top;
  font-weight: 400; }
th[scope=row], time, .badge { white-space: nowrap; } td { overflow-wrap: break-word; }
thead th { border-top: 0; color: var(--soft); font-size: .82rem; white-space: nowrap; } .scroll thead th {
  position: sticky; top: 0; background: var(--card); }
.scroll { max-height: 24rem; overflow: auto; }
#keys, #webhooks { min-width: 46rem; } #releases, #audit, #tokens { min-width: 56rem; } #trust, #sessions {
  min-width: 24rem; } #downloads { min-width: 40rem; }
@media (max-width: 40rem) { #board table { min-width: 0; } #board thead { display: none; }
  #board table, #board tbody, #board tr { display: block; }
  #board tr { padding: .4rem 0; border-top: 1px solid var(--line); } #board tr:first-child { border-top: 0; }
  #board th[scope=row], #board td { display: grid; grid-template-columns: 8rem 1fr; gap: .6rem; padding: .05rem 0;
    border: 0; white-space: normal; overflow-wrap: anywhere; justify-items: start; }
  #board th[scope=row]::before, #board td[data-name]::before { content: attr(data-name); color: var(--soft);
    font-weight: 400; }
  #board td[data-name=More] { display: block; } #board td[data-name=More]::before { content: none; } .notes {
    min-width: 0; }
  .graph text { font-size: 22px; } #audit-form label, #audit-form input { width: 100%; max-width: none; } .scroll {
    max-height: 36rem; }
  #board th[scope=row] { font-weight: 600; } #board td:not([data-name]) { display: block; } }
form.fields { display: grid; gap: .5rem; max-width: 34rem; margin: .8rem 0 1.2rem; } .fields label { display: grid;
  gap: .2rem; }
.fields input:not([type=checkbox]) { width: 100%; } .fields fieldset { border: 1px solid var(--line);
  border-radius: .4rem; padding: .4rem .7rem .6rem; min-width: 0; }
.choices { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .15rem .8rem; }
  .choices label { display: block; }
div:not(:empty) + details, details + .scroll { margin-top: .8rem; } .note code { flex-basis: 100%; margin: .3rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1.2rem; margin: 0; } dt { color: var(--soft);
  } dd { margin: 0; }
code { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
details dl { margin-top: .5rem; } summary { cursor: pointer; color: var(--soft); }
@media (max-width: 30rem) { details dl { grid-template-columns: 1fr; gap: .1rem; } details dd { margin-bottom: .4rem;
  } }
.controls { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: center; } output { min-width: 3.5em;
  font-variant-numeric: tabular-nums; }
.badge { display: inline-block; padding: 0 .55em; border-radius: 1em; font-size: .82rem; font-weight: 600;
  background: var(--plain-back); }
.badge.ok { color: var(--ok); background: var(--ok-back); } .badge.warn { color: var(--warn);
  background: var(--warn-back); } .badge.bad { color: var(--bad); background: var(--bad-back); }
.note { padding: .6rem .9rem; border-radius: .4rem; color: var(--warn); background: var(--warn-back); display: flex;
  flex-wrap: wrap; gap: 0 .5em; } .note strong { flex-basis: 100%; }
.warn { color: var(--warn); } .bad { color: var(--bad); } .hint { color: var(--soft); }
#login-error:empty { display: none; }
#live { position: sticky; bottom: 0; padding: .35rem 1.2rem; background: var(--card);
  border-top: 1px solid var(--line); color: var(--soft); font-size: .9rem; } #live:empty { border: 0; padding: 0; }
article > .hint, article > div { margin-top: .2rem; } #health article > div { display: grid; gap: .5rem; }
  #s-health > .hint, #s-adoption > .hint { margin-bottom: .8rem; }
  #audit td[data-name=On], #audit td[data-name=Details] { overflow-wrap: anywhere; } .nowrap { white-space: nowrap; }
#graphs { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: .6rem 1.6rem; }
  #graphs:not(:empty) { margin: .8rem 0; }
figure { margin: 0; } .graph { width: 100%; } .axis { stroke: var(--line); } .faint { stroke-dasharray: 3 4; }
  #reported { margin-top: 1rem; }
.figure { display: grid; grid-template-columns: minmax(6.5rem, max-content) minmax(3rem, 1fr); gap: .8rem;
  align-items: center; width: 100%; max-width: 26rem; }
.bar { width: 100%; height: .5rem; } .bar-back { fill: var(--plain-back); } .bar-ok { fill: var(--ok); } .bar-bad {
  fill: var(--bad); }
article table { table-layout: fixed; } .card .controls input { width: 6rem; }
.search { display: flex; flex-wrap: wrap; gap: .5rem .8rem; align-items: end; margin-bottom: .8rem; } .search label {
  display: grid; gap: .1rem; font-size: .85rem; color: var(--soft); } .search input { color: var(--text);
  max-width: 11rem; }
.copyable code span { display: inline-block; max-width: 100%; overflow-wrap: anywhere; }
.copyable { display: flex; flex-wrap: wrap; gap: .3rem .6rem; align-items: center; } .notes { display: grid;
  gap: .5rem; margin-top: .4rem; min-width: min(20rem, 60vw); } .written { display: block; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.note-form { display: grid; gap: .4rem; justify-items: start; } textarea { font: inherit; color: inherit;
  width: 100%; padding: .4rem .6rem; border: 1px solid var(--line); border-radius: .4rem; background: var(--page); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: .5rem; top: .5rem; background: var(--card);
  padding: .3rem .6rem; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border-radius: .15em; }
svg { max-width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--soft); }
.piece-0 { fill: #2f7dd1; background: #2f7dd1; } .piece-1 { fill: #e0902f; background: #e0902f; } .piece-2 {
  fill: #5a9e4b; background: #5a9e4b; }
.piece-3 { fill: #b1569e; background: #b1569e; } .piece-4 { fill: #8a8f98; background: #8a8f98; } .piece-5 {
  fill: #3aa6a0; background: #3aa6a0; }
`
