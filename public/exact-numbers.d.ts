/** A number that JavaScript would change. */
export interface InexactNumber {
  /** Its location, as a JSON Pointer. */
  pointer: string
  /** The number as written. */
  number: string
  /** The number as it would be stored. */
  kept: string
}

/** The first number of a JSON text that JavaScript cannot represent. */
export function findInexactNumber(text: string): InexactNumber | undefined

/** Whether JavaScript writes the same number as this text. */
export function isKept(number: string): boolean
