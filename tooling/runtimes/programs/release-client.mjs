import { blobFromBytes, ReleaseServerClient } from '@keyturn/release-client'
import { bytes, codeOf, expect } from './require.mjs'

/** What a server would answer. */
function server(stored) {
  return async (url, { method, body } = {}) => {
    const { pathname } = new URL(url)
    const json = (status, content) =>
      new Response(JSON.stringify(content), { status, headers: { 'content-type': 'application/json' } })
    if (pathname.endsWith(':missing')) return json(200, { missing: JSON.parse(await new Response(body).text()).sha256 })
    if (method !== 'PUT') return json(403, { code: 'SRV_SCOPE', kind: 'auth', detail: 'the token needs a scope' })
    stored.push(new Uint8Array(await new Response(body).arrayBuffer()))
    return json(201, { size: stored.at(-1).length })
  }
}

export const features = {
  async 'upload and refusals'() {
    const stored = []
    const options = { token: 'm2t_0123456789abcdef_secret', fetch: server(stored) }
    const client = new ReleaseServerClient('https://updates.example', options)
    await client.uploadMissing([blobFromBytes(bytes('first file'))])
    expect('the upload', stored.length === 1 && stored[0].length === 10)
    expect('a refusal', (await codeOf(() => client.audit())) === 'SRV_SCOPE')
  },
}
