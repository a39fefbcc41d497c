import { scopes } from '@keyturn/release-client'

function field(label: string, input: string, hint?: string): string {
  return `<label>${label} ${input}</label>${hint === undefined ? '' : `<p class="hint">${hint}</p>`}`
}

const TOKEN_FORM = `<details id="new-token"><summary>New token</summary>
<form id="token-form" class="fields" data-scopes="${scopes.join(' ')}" autocomplete="off">
${field('Name', '<input name="name" required maxlength="120">', 'A person or a machine: the audit log shows this name.')}
<fieldset><legend>May</legend><div id="token-scopes" class="choices"></div></fieldset>
${field('Days', '<input name="days" type="number" min="1" max="400" value="90" required>')}
${field('Only these products', '<input name="products">')}
${field('Only these channels', '<input name="channels">', 'Names with commas between them; empty means all.')}
<p id="token-error" class="bad" role="alert"></p>
<p><button type="submit" class="main">Make the token</button></p></form></details>`

const WEBHOOK_FORM = `<details id="new-webhook"><summary>New webhook</summary>
<form id="webhook-form" class="fields" autocomplete="off">
${field('Address', '<input name="url" type="url" required maxlength="2048" placeholder="https://chat.example.org/hook">')}
${field('Events', '<input name="events" placeholder="channel.publish, channel.halt">', 'Empty means all.')}
<p id="webhook-error" class="bad" role="alert"></p>
<p><button type="submit" class="main">Make the webhook</button></p></form></details>`

const HEALTH_HINT =
  '<p class="hint">Counts of launchers that report, without addresses or ids; each step once for an install.</p>'

const DOWNLOADS = `<p class="hint">Counted by this server in 30 days, without addresses or ids.
  A CDN in front hides reads.</p>
<div id="graphs"></div><div class="scroll" tabindex="0" role="region" aria-labelledby="h-adoption">
  <table id="downloads"></table></div>
<div id="reported" hidden><h3>Reports of older launchers</h3><table id="adoption"></table></div>`

const AUDIT_FORM = `<form id="audit-form" class="search" role="search" aria-label="Audit log" autocomplete="off">
<label>Text <input name="text" maxlength="100"></label><label>Who <input name="actor" maxlength="100"></label>
<label>Action <input name="action" maxlength="100" placeholder="channel."></label>
<label>Day <input name="day" type="date"></label>
<button type="submit">Search</button><button type="reset">Clear</button></form>`

const AUDIT_OLDER = '<p><button id="audit-older" type="button" hidden>Older entries</button></p>'

function section(id: string, title: string, content: string, wide = false): string {
  const kind = wide ? ' class="wide"' : ''
  return `<section id="s-${id}" data-place="${id}" data-title="${title}" aria-labelledby="h-${id}"${kind}>
<h2 id="h-${id}">${title}</h2>${content}</section>`
}

/** A table that may be long: it scrolls on its own, by keyboard too. */
function scrolling(id: string): string {
  return `<div class="scroll" tabindex="0" role="region" aria-labelledby="h-${id}"><table id="${id}"></table></div>`
}

/** The page of the dashboard; its script fills in everything. */
export const PAGE_HTML = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Keyturn release server</title>
<link rel="stylesheet" href="/dashboard/style.css">
<script src="/dashboard/script.js" type="module"></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header>
  <h1>Keyturn</h1>
  <span id="product-choice" hidden><label for="product">Product</label> <select id="product"></select></span>
  <span id="state" class="hint"></span>
  <span id="who"></span>
  <button id="logout" type="button" hidden>Log out</button>
  <nav id="places" aria-label="Sections"></nav>
</header>
<main id="main" tabindex="-1">
  <form id="login" class="card" hidden>
    <h2>Log in</h2>
    <label for="token">Token</label>
    <input id="token" name="token" type="password" autocomplete="current-password" aria-describedby="login-error login-hint" required>
    <button type="submit" class="main">Log in</button>
    <p id="login-error" class="bad" role="alert"></p>
    <p id="login-hint" class="hint">A token of this server, or of the OIDC issuer that it trusts.</p>
  </form>
  <div id="nothing" class="card" hidden>
    <h2>There is no product yet</h2>
    <p>Make the home of a product, and publish its first release. Then load this page again.</p>
    <p><code>keyturn init</code></p><p><code>keyturn ship</code></p>
  </div>
  <div id="board" hidden>
    ${section('channels', 'Channels', '<div id="channels"></div>', true)}
    ${section('health', 'How updates go', HEALTH_HINT + '<div id="health"></div>', true)}
    ${section('releases', 'Releases', scrolling('releases'), true)}
    ${section('adoption', 'Downloads', DOWNLOADS, true)}
    ${section('audit', 'Audit log', AUDIT_FORM + scrolling('audit') + AUDIT_OLDER, true)}
    ${section('keys', 'Keys and due dates', scrolling('keys'), true)}
    ${section('trust', 'Log and roles', scrolling('trust'))}
    ${section('storage', 'Storage', '<dl id="storage"></dl>')}
    ${section('tokens', 'Tokens', `<div id="token-secret"></div>${TOKEN_FORM}${scrolling('tokens')}`, true)}
    ${section('sessions', 'Sessions', scrolling('sessions'), true)}
    ${section('webhooks', 'Webhooks', `<div id="webhook-secret"></div>${WEBHOOK_FORM}${scrolling('webhooks')}`, true)}
  </div>
</main>
<p id="live" role="status" aria-live="polite"></p>
</body>
</html>
`
