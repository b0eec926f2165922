/** Checks a URL before it is called: its form, its port, and a host that is an address. */
import type { FieldError } from '../protocol/errors.js'
import { AddressRefusedError, type AddressGuard } from './address-guard.js'

/** @param pointer the location of the URL in the checked value */
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
