/** The page of the dashboard; everything in it is filled in by its script. */
export const pageHtml = `<!doctype html>
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
  <label for="product" hidden>Product</label>
  <select id="product" aria-label="Product" hidden></select>
  <span id="who"></span>
  <button id="logout" type="button" hidden>Log out</button>
</header>
<main id="main" tabindex="-1">
  <form id="login" hidden>
    <h2>Log in</h2>
    <label for="token">Token</label>
    <input id="token" name="token" type="password" autocomplete="current-password" required>
    <button type="submit">Log in</button>
    <p id="login-error" role="alert"></p>
  </form>
  <div id="board" hidden>
    <section aria-labelledby="h-channels"><h2 id="h-channels">Channels</h2><div id="channels"></div></section>
    <section aria-labelledby="h-releases"><h2 id="h-releases">Releases</h2><div class="scroll" tabindex="0" role="region" aria-labelledby="h-releases"><table id="releases"></table></div></section>
    <section aria-labelledby="h-trust"><h2 id="h-trust">Keys and due dates</h2><table id="trust"></table></section>
    <section aria-labelledby="h-adoption"><h2 id="h-adoption">Adoption</h2><p class="hint">Of those who report.</p><table id="adoption"></table></section>
    <section aria-labelledby="h-audit"><h2 id="h-audit">Audit log</h2><div class="scroll" tabindex="0" role="region" aria-labelledby="h-audit"><table id="audit"></table></div></section>
    <section aria-labelledby="h-hooks"><h2 id="h-hooks">Webhooks</h2><table id="webhooks"></table></section>
  </div>
</main>
<p id="live" role="status" aria-live="polite"></p>
</body>
</html>
`
