import type { PageBrand } from './brand.ts'

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

/** Asked once, before anything is downloaded. */
const SETUP = `  <section id="setup" class="work" aria-labelledby="setup-title" hidden>
    <h2 id="setup-title" data-word="setupTitle"></h2>
    <div class="fields">
      <label for="setup-folder" data-word="folderTitle"></label><input id="setup-folder" autocomplete="off" spellcheck="false" aria-describedby="setup-error">
      <span></span><small data-word="setupHint"></small>
    </div>
    <p id="setup-error" role="alert" hidden></p>
    <div class="buttons"><button id="setup-install" class="main" type="button" data-word="install"></button></div>
  </section>
`

/** What is installed, what runs, and the settings. */
const WORK = `  <section id="work" class="work" aria-labelledby="state">
    <h2 id="state" aria-live="polite"></h2>
    <p id="result" aria-live="polite"></p>
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
      <dt data-word="trustTitle"></dt><dd><span id="trust-mark" aria-hidden="true"></span><span id="trust"></span></dd>
      <dt data-word="keyTitle"></dt><dd id="key"></dd>
      <dt data-word="folderTitle"></dt><dd id="folder"></dd>
    </dl>
    </details>
    <details id="settings">
      <summary data-word="settings"></summary>
      <div class="fields">
        <label for="channel" data-word="channel"></label><input id="channel" autocomplete="off" spellcheck="false" pattern="[a-z0-9\\-]{1,64}" maxlength="64">
        <label for="limit" data-word="limit"></label><input id="limit" inputmode="numeric" autocomplete="off" aria-describedby="limit-hint">
        <span></span><small id="limit-hint" data-word="limitHint"></small>
        <label for="language" data-word="language"></label>
        <select id="language"></select>
        <span></span><button id="save" type="button" data-word="save"></button>
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
    <h2 id="news-title" data-word="news"></h2>
    <article id="notes" tabindex="0"></article>
  </section>
</main>
</body>
</html>
`
}
