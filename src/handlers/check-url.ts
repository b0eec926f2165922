/** What is known of a URL before it is called: its form, its port, and a host that is an address. */
import type { FieldError } from '../protocol/errors.js'
import { AddressRefusedError, type AddressGuard } from './address-guard.js'

/** @param pointer where the URL is, in what is checked */
export function checkUrlText(text: string, pointer: string, guard: AddressGuard): FieldError[] {
  if (!URL.canParse(text)) return [{ pointer, detail: 'is malformed', fix: 'Write it as in https://example.com/path.' }]
  try {
    guard.checkUrl(new URL(text))
    return []
  } catch (error) {
    if (error instanceof AddressRefusedError) return [{ pointer, detail: `is refused: ${error.message}` }]
    throw error
  }
}
