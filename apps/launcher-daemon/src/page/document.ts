import type { PageBrand } from './brand.ts'

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

/** Asked once, before anything is downloaded. */
const SETUP = `  <section id="setup" class="work" aria-labelledby="setup-title" hidden>
    <h2 id="setup-title" data-word="setupTitle"></h2>
    <div class="fields">
      <label for="setup-folder" data-word="folderTitle"></label>
      <input id="setup-folder" autocomplete="off" spellcheck="false" aria-describedby="setup-error">
      <span></span><small data-word="setupHint"></small>
      <label for="setup-language" data-word="language"></label><select id="setup-language"></select>
    </div>
    <p id="setup-look" aria-live="polite"></p>
    <fieldset id="setup-choice" hidden><legend data-word="parts"></legend>
      <div id="setup-parts" class="parts"></div>
    </fieldset>
    <p id="setup-figures" aria-live="polite"></p>
    <p id="setup-error" role="alert" hidden></p>
    <div class="buttons"><button id="setup-install" class="main" type="button"
      aria-describedby="setup-look"></button></div>
  </section>
`

/** What is installed, what runs, and the settings. */
const WORK = `  <section id="work" class="work" aria-labelledby="state">
    <h2 id="state" aria-live="polite"></h2>
    <p id="result" aria-live="polite"></p>
    <p id="waiting" hidden>
      <span id="waiting-text"></span> <button id="download-now" type="button" data-word="downloadNow"></button>
    </p>
    <p id="next" aria-live="polite" hidden></p>
    <div id="progress" hidden>
      <progress id="bar" max="1000" value="0" aria-labelledby="state"></progress>
      <p id="figures"></p>
    </div>
    <div class="buttons">
      <button id="play" class="main" type="button"></button>
      <button id="pause" type="button" hidden></button>
      <button id="update" type="button" data-word="update"></button>
      <button id="repair" type="button" data-word="repair"></button>
      <button id="rollback" type="button" data-word="rollback" hidden></button>
    </div>
    <details id="details">
      <summary data-word="details"></summary>
    <dl class="facts">
      <dt data-word="trustTitle"></dt><dd><span id="trust-mark" aria-hidden="true"></span><span id="trust"></span>
        <span id="published"></span> <span id="refused"></span></dd>
      <dt data-word="keyTitle"></dt><dd id="key"></dd>
      <dt data-word="folderTitle"></dt><dd id="folder"></dd>
    </dl>
    </details>
    <details id="parts" hidden>
      <summary data-word="parts"></summary>
      <div id="parts-list" class="parts"></div>
      <p><small data-word="partsHint"></small></p>
      <div class="buttons"><button id="apply-parts" type="button" data-word="applyParts"></button></div>
    </details>
    <details id="settings">
      <summary data-word="settings"></summary>
      <div class="fields">
        <label for="channel" data-word="channel"></label>
        <input id="channel" autocomplete="off" spellcheck="false" pattern="[a-z0-9\\-]{1,64}" maxlength="64">
        <label for="access-code" data-word="accessCode"></label>
        <input id="access-code" type="password" autocomplete="off" spellcheck="false" maxlength="128"
          aria-describedby="access-hint">
        <span></span><small id="access-hint" data-word="accessHint"></small>
        <label for="limit" data-word="limit"></label>
        <input id="limit" inputmode="decimal" autocomplete="off" aria-describedby="limit-hint">
        <label for="background-limit" data-word="backgroundLimit"></label>
        <input id="background-limit" inputmode="decimal" autocomplete="off" aria-describedby="limit-hint">
        <span></span><small id="limit-hint" data-word="limitHint"></small>
        <label for="ask-above" data-word="askAbove"></label>
        <input id="ask-above" inputmode="numeric" autocomplete="off">
        <label for="pause-playing" data-word="pausePlaying"></label><input id="pause-playing" type="checkbox">
        <label for="night-only" id="night-label" data-word="nightOnly"></label>
        <input id="night-only" type="checkbox">
        <span class="hours"><input id="night-from" type="time" aria-labelledby="night-label"> –
          <input id="night-to" type="time" aria-labelledby="night-label"></span>
        <label for="reports" id="reports-label" data-word="reports"></label><input id="reports" type="checkbox">
        <label for="language" data-word="language"></label>
        <select id="language"></select>
        <span></span><button id="save" type="button" data-word="save"></button>
        <span></span><button id="report" type="button" data-word="report" aria-describedby="report-hint"></button>
        <span></span><small id="report-hint" data-word="reportHint"></small>
        <span></span><button id="quit" type="button" data-word="quit"></button>
      </div>
    </details>
  </section>
`

/** The page; its words are put in by the script, in the language of the settings or the browser. */
export function pageDocument(brand?: PageBrand): string {
  const name = escaped(brand?.name ?? 'Keyturn')
  const languages = escaped((brand?.languages ?? []).join(' '))
  const logo = brand?.logo === undefined ? '' : '<img id="logo" src="/logo" alt="">'
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="session" content="">
<meta name="languages" content="${languages}">
<title>${name}</title>
${brand?.logo === undefined ? '' : '<link rel="icon" href="/logo">'}
<link rel="stylesheet" href="/styles.css">
<script type="module" src="/client.js"></script>
</head>
<body>
<a class="skip" href="#play" data-word="skip"></a>
<header>
  ${logo}<h1 id="title">${name}</h1>
  <p id="release"></p>
</header>
<div id="banner" role="alert" hidden></div>
<main>
${SETUP}${WORK}  <section class="news" aria-labelledby="news-title">
    <h2 id="news-title"></h2>
    <article id="notes" tabindex="0"></article>
  </section>
</main>
</body>
</html>
`
}
