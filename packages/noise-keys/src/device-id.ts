import { printable } from '@keyturn/primitives'
import { NoiseKeysError } from './errors.ts'

/** The device id old readers ask for by default. */
export const DEFAULT_DEVICE_ID = 'default'

/**
 * Refuses a device id that could leave its folder or does not fit one DNS label. Applied whenever we write.
 *
 * @throws {@link NoiseKeysError} `NK_DEVICE_ID`.
 */
export function assertDeviceId(deviceId: string): void {
  if (/^[A-Za-z0-9._-]{1,63}$/.test(deviceId) && !['.', '..', '__proto__'].includes(deviceId)) return
  throw new NoiseKeysError('NK_DEVICE_ID', `Device id "${printable(deviceId)}" is not allowed`)
}

/** Where a homeserver keeps the record of a device; foreign device ids are percent-encoded. */
export function recordPath(deviceId: string): string {
  const segment = deviceId === '.' || deviceId === '..' ? deviceId.replaceAll('.', '%2E') : encodeURIComponent(deviceId)
  return `/pub/noise.app/v0/${segment}`
}

/** Where a homeserver keeps the key list. */
export const KEY_LIST_PATH = '/pub/noise.app/v1/keys'

/** DNS name of a device's record, relative to the identity. */
export function recordDnsName(deviceId: string): string {
  assertDeviceId(deviceId)
  return `_noise.${deviceId}`
}

/** DNS name of the anchor, relative to the identity. */
export const ANCHOR_DNS_NAME = '_noise'
