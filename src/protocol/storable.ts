/**
 * What can be stored, as patterns of schemas. In a file of its own: schemas are part of the package's types, which must
 * check with the libraries of other projects.
 */

/** A pattern for text that can be stored. As JSON Schema asks for, it is matched as Unicode: pairs of surrogates fit. */
export const STORABLE_TEXT = '^[^\\u0000\\uD800-\\uDFFF]*$'

/**
 * The same for a key. URLs name keys, and in a URL the segments `.` and `..` mean other paths.
 * @see https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4
 */
export const STORABLE_KEY = '^(?!\\.{1,2}$)[^\\u0000\\uD800-\\uDFFF]*$'

const KEY = new RegExp(STORABLE_KEY, 'u')

export function isStorableKey(key: string): boolean {
  return KEY.test(key)
}

/** What the patterns refuse, in words. */
export const PATTERN_WORDS: Readonly<Record<string, string>> = {
  [STORABLE_TEXT]: 'contains U+0000 or half of a surrogate pair, which cannot be stored',
  [STORABLE_KEY]: 'is "." or "..", or contains U+0000 or half of a surrogate pair',
}
