/** How a page for people begins; none of the documents does. */
const PAGE_START = /^\uFEFF?\s*<(?:!doctype\s|!--|html|head|body|\?xml)/i

/** Whether an answer says of itself that it is a page for people. */
export function isHtml(headers: Headers): boolean {
  return /^(?:text\/html|application\/xhtml\+xml)\b/i.test(headers.get('content-type') ?? '')
}

/**
 * Whether bytes are a page for people: a network that wants its users to sign in first sends one in place of whatever
 * was asked for, and so do some hosts for what they do not have.
 */
export function isWebPage(bytes: Uint8Array): boolean {
  return PAGE_START.test(new TextDecoder().decode(bytes.subarray(0, 512)))
}
