/** A field of an object, for people. */
export interface FieldRow {
  /** Dotted where it lies in another object; empty for a value that is no object with members. */
  name: string
  /** In words. */
  type: string
  isRequired: boolean
  /** The default, if there is one. */
  fallback: unknown
  text: string
}

/** Sees through what says the same in another way. */
export function simplify(schema: unknown): Record<string, unknown>

/** `1 to 10`, `at least 1`; empty when there are none. */
export function describeBounds(schema: unknown): string

/** Begins with a capital letter, ends with a full stop. */
export function sentence(text: string): string

export function describeFields(schema: unknown): FieldRow[]

/** A value that fits as far as can be told: what is required, from examples, defaults and limits. */
export function makeExample(schema: unknown): unknown
