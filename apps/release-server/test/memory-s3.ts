import { createHash } from 'node:crypto'
import type { S3Settings } from '../src/storage/s3-request.ts'

/** A bucket in memory that copies parts, which the S3 server of the other tests does not. */
export interface MemoryS3 {
  readonly settings: S3Settings
  readonly objects: Map<string, Uint8Array>
  /** Bytes that were sent to it, that it sent, and that it copied. */
  readonly counted: { sent: number; read: number; copied: number; requests: string[] }
  /** Changes what a request does; undefined: nothing. */
  intercept: ((method: string, url: URL, headers: Headers) => Response | undefined) | undefined
}

interface Upload {
  readonly key: string
  readonly parts: Map<number, Uint8Array>
}

const etagOf = (bytes: Uint8Array): string => `"${createHash('md5').update(bytes).digest('hex')}"`
const LEAST_PART = 5 * 1024 * 1024

/** Makes one. */
export function memoryS3(): MemoryS3 {
  const objects = new Map<string, Uint8Array>()
  const uploads = new Map<string, Upload>()
  const counted = { sent: 0, read: 0, copied: 0, requests: [] as string[] }
  let numbers = 0
  const missing = (code: string): Response => new Response(`<Error><Code>${code}</Code></Error>`, { status: 404 })

  function sourceOf(headers: Headers): Uint8Array | undefined {
    const name = headers.get('x-amz-copy-source')
    const bytes = name === null ? undefined : objects.get(decodeURIComponent(name).replace(/^\/bucket\//, ''))
    if (bytes === undefined) return undefined
    const range = /^bytes=(\d+)-(\d+)$/.exec(headers.get('x-amz-copy-source-range') ?? '')
    const part = range === null ? bytes : bytes.slice(Number(range[1]), Number(range[2]) + 1)
    counted.copied += part.length
    return part
  }

  async function put(key: string, url: URL, headers: Headers, body: Uint8Array): Promise<Response> {
    const isCopy = headers.has('x-amz-copy-source')
    const bytes = isCopy ? sourceOf(headers) : body
    if (bytes === undefined) return missing('NoSuchKey')
    if (!isCopy) counted.sent += bytes.length
    const number = url.searchParams.get('partNumber')
    if (number === null) objects.set(key, bytes)
    else {
      const upload = uploads.get(url.searchParams.get('uploadId') ?? '')
      if (upload === undefined) return missing('NoSuchUpload')
      upload.parts.set(Number(number), bytes)
    }
    const result = `<CopyResult><ETag>${etagOf(bytes).replaceAll('"', '&quot;')}</ETag></CopyResult>`
    return new Response(isCopy ? result : null, { headers: { etag: etagOf(bytes) } })
  }

  function post(key: string, url: URL): Response {
    if (url.searchParams.has('uploads')) {
      const id = `upload-${(numbers += 1)}`
      uploads.set(id, { key, parts: new Map() })
      return new Response(`<R><UploadId>${id}</UploadId></R>`)
    }
    const upload = uploads.get(url.searchParams.get('uploadId') ?? '')
    if (upload === undefined) return missing('NoSuchUpload')
    const parts = [...upload.parts].toSorted(([a], [b]) => a - b).map(([, bytes]) => bytes)
    if (parts.slice(0, -1).some(({ length }) => length < LEAST_PART))
      return new Response('<Error><Code>EntityTooSmall</Code></Error>', { status: 400 })
    objects.set(upload.key, new Uint8Array(Buffer.concat(parts)))
    uploads.delete(url.searchParams.get('uploadId') ?? '')
    return new Response('<CompleteMultipartUploadResult/>')
  }

  function listed(prefix: string): string {
    const keys = [...objects.keys()].filter((key) => key.startsWith(prefix)).toSorted()
    const now = new Date().toISOString()
    const entries = keys.map(
      (key) =>
        `<Contents><Key>${key}</Key><LastModified>${now}</LastModified>` +
        `<Size>${objects.get(key)?.length}</Size></Contents>`,
    )
    return `<ListBucketResult><IsTruncated>false</IsTruncated>${entries.join('')}</ListBucketResult>`
  }

  function get(key: string, method: string, headers: Headers, prefix: string): Response {
    if (key === '') return new Response(method === 'HEAD' ? null : listed(prefix))
    const bytes = objects.get(key)
    if (bytes === undefined) return missing('NoSuchKey')
    const range = /^bytes=(\d+)-(\d+)$/.exec(headers.get('range') ?? '')
    const part = range === null ? bytes : bytes.slice(Number(range[1]), Number(range[2]) + 1)
    const facts = {
      etag: etagOf(bytes),
      'content-length': String(part.length),
      'last-modified': new Date().toUTCString(),
    }
    if (method === 'HEAD') return new Response(null, { headers: facts })
    counted.read += part.length
    return new Response(part as BodyInit, { status: range === null ? 200 : 206, headers: facts })
  }

  const memory: MemoryS3 = {
    objects,
    counted,
    intercept: undefined,
    settings: {
      url: 'http://memory.invalid/bucket',
      region: 'us-east-1',
      accessKey: 'key',
      secretKey: 'secret',
      fetch: async (input, init) => {
        const url = new URL(String(input))
        const headers = new Headers(init?.headers)
        const method = init?.method ?? 'GET'
        const key = decodeURIComponent(url.pathname.replace(/^\/bucket\/?/, ''))
        counted.requests.push(`${method} ${key.split('/')[0] ?? ''}${url.search.replace(/=.*/, '')}`)
        const answer = memory.intercept?.(method, url, headers)
        if (answer !== undefined) return answer
        if (method === 'PUT')
          return await put(key, url, headers, new Uint8Array((init?.body ?? new Uint8Array(0)) as Uint8Array))
        if (method === 'POST') return post(key, url)
        if (method === 'DELETE') {
          if (url.searchParams.has('uploadId')) uploads.delete(url.searchParams.get('uploadId') ?? '')
          else objects.delete(key)
          return new Response(null, { status: 204 })
        }
        return get(key, method, headers, url.searchParams.get('prefix') ?? '')
      },
    },
  }
  return memory
}
