/** A number that JavaScript would change. */
export interface InexactNumber {
  /** Where it is, as a JSON Pointer. */
  pointer: string
  /** As it was written. */
  number: string
  /** As it would be kept. */
  kept: string
}

/** The first number of a JSON text that JavaScript cannot keep. */
export function findInexactNumber(text: string): InexactNumber | undefined

/** Whether JavaScript writes the same number as this text. */
export function isKept(number: string): boolean
