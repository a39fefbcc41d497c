import { createServer } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { atEnd } from './support.ts'

export interface TestIssuer {
  readonly url: string
  /** A token of the issuer, 5 minutes long unless told otherwise; `expires` as jose takes it. */
  token(
    claims: Record<string, string>,
    options?: {
      audience?: string | undefined
      issuer?: string | undefined
      key?: CryptoKey | undefined
      expires?: string | number | undefined
    },
  ): Promise<string>
}

/** An OIDC issuer in this process, closed after the test. */
export async function startIssuer(): Promise<TestIssuer> {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const server = createServer((request, response) => {
    void (async () => {
      const at = `http://${request.headers.host}`
      const body =
        request.url === '/jwks'
          ? { keys: [{ ...(await exportJWK(publicKey)), kid: 'k1', alg: 'ES256' }] }
          : { issuer: at, jwks_uri: `${at}/jwks` }
      response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
    })()
  })
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  atEnd(async () => {
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
  return {
    url,
    token: (claims, options = {}) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: 'ES256', kid: 'k1' })
        .setSubject('ci')
        .setIssuedAt()
        .setIssuer(options.issuer ?? url)
        .setAudience(options.audience ?? 'keyturn')
        .setExpirationTime(options.expires ?? '5m')
        .sign(options.key ?? privateKey),
  }
}
