/** Columns that take more shapes than the schema of a task has: what of them can be shown. None of these functions throws. */
import { Type, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { EditedField, FIRST_INSTANT, LAST_INSTANT, type Failure, type Progress } from '../protocol/task.js'

/** What is shown of a failure that is stored in another form, in characters. */
const MAX_MESSAGE = 1_000

const OrNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const NumberOrNull = OrNull(Type.Number())
/** What reads these values relies on; a value that is out of bounds, or a field of a later version, is shown as it is stored. */
const progressCheck = Compile(Type.Object({ fraction: NumberOrNull, done: NumberOrNull, total: NumberOrNull, message: OrNull(Type.String()), at: Type.String() }))
const failureCheck = Compile(Type.Object({ code: Type.String(), message: Type.String(), attempt: Type.Number() }))
const editedFieldCheck = Compile(EditedField)

const isText = (value: unknown) => typeof value === 'string'

/** SQL for a stored time as it is shown (see `db/instant.ts`); null stays null. */
export const boundedTime = (column: string) => `(case when ${column} is not null then greatest(least(${column}, '${LAST_INSTANT}'), '${FIRST_INSTANT}') end)`

/** An array of PostgreSQL has any number of dimensions, and nulls in it. */
export function toTags(stored: readonly unknown[]): string[] {
  if (stored.every(isText)) return stored as string[]
  return stored.flat(Infinity).filter(isText)
}

/** A hint; one that cannot be read is none. */
export function toProgress(stored: unknown): Progress | null {
  return progressCheck.Check(stored) ? (stored as Progress) : null
}

/** A failure stays one, and its text is kept as far as there is any. */
export function toFailure(stored: unknown, attempt: number): Failure | null {
  if (stored === null || failureCheck.Check(stored)) return stored as Failure | null
  const message: unknown = typeof stored === 'object' && stored !== null && 'message' in stored ? stored.message : stored
  return { code: 'error', message: (typeof message === 'string' ? message : JSON.stringify(stored)).slice(0, MAX_MESSAGE), attempt }
}

/** Those that this version knows. */
export function toEditedFields(stored: readonly unknown[]): EditedField[] {
  return stored.flat(Infinity).filter((field) => editedFieldCheck.Check(field))
}
