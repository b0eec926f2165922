/**
 * Checks whether a callback URL is allowed. When the callback is sent, the address that its name resolves to is checked
 * again.
 */
import { AddressRefusedError, createAddressGuard } from '../handlers/address-guard.js'
import { NewTaskError } from '../tasks/create/new-task.js'

/** @throws NewTaskError `invalid_task` */
export function assertCallbackUrl(text: string, allowPrivate: boolean): void {
  try {
    const url = new URL(text)
    createAddressGuard({ allowPrivate }).checkUrl(url)
  } catch (error) {
    const detail = error instanceof AddressRefusedError ? `is refused: ${error.message}` : 'is not a URL'
    throw new NewTaskError('invalid_task', `/callbackUrl ${detail}`, [
      { pointer: '/callbackUrl', detail, fix: 'Send the https URL of a server that is publicly reachable.' },
    ])
  }
}
