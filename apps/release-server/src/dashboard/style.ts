/** Style of the dashboard: readable in light and dark, visible focus, no fixed sizes. */
export const pageStyle = `
:root { color-scheme: light dark; --line: #8884; --accent: #0b62d6; --warn: #9a5b00; --bad: #b3261e; font: 16px/1.5 system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { :root { --accent: #7fb2ff; --warn: #ffc24d; --bad: #ff8a80; } }
body { margin: 0; }
header { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; padding: .5rem 1rem; border-bottom: 1px solid var(--line); }
h1 { font-size: 1.2rem; margin: 0; } h2 { font-size: 1.05rem; margin: 1.2rem 0 .4rem; } h3 { font-size: 1rem; margin: 0; }
#who { margin-left: auto; }
main { padding: 0 1rem 3rem; max-width: 75rem; margin: auto; }
form { max-width: 30rem; display: grid; gap: .5rem; }
input, select, button { font: inherit; padding: .3rem .6rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
.scroll { max-height: 24rem; overflow: auto; }
.channel { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem 1rem; margin: .5rem 0; display: grid; gap: .4rem; }
.controls { display: flex; flex-wrap: wrap; gap: .8rem; align-items: center; }
.warn { color: var(--warn); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; } .hint { opacity: .8; margin: 0; }
meter { width: 10rem; } #live { position: fixed; bottom: 0; left: 0; right: 0; margin: 0; padding: .3rem 1rem; background: Canvas; border-top: 1px solid var(--line); min-height: 1.5rem; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: .5rem; top: .5rem; background: Canvas; padding: .3rem; }
`
