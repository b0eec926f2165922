/**
 * Columns that can hold more shapes than the schema of a task allows: the part of them that can be shown. None of these
 * functions throws.
 */
import { Type, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { EditedField, FIRST_INSTANT, LAST_INSTANT, type Failure, type Progress } from '../protocol/task.js'

/** How much of a failure in an unknown format is shown, in characters. */
const MAX_MESSAGE = 1_000

const OrNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const NumberOrNull = OrNull(Type.Number())
/**
 * The fields that readers of these values rely on. A value out of bounds, or a field of a later version, is shown as
 * stored.
 */
const progressCheck = Compile(Type.Object({ fraction: NumberOrNull, done: NumberOrNull, total: NumberOrNull, message: OrNull(Type.String()), at: Type.String() }))
const failureCheck = Compile(Type.Object({ code: Type.String(), message: Type.String(), attempt: Type.Number() }))
const editedFieldCheck = Compile(EditedField)

const isText = (value: unknown) => typeof value === 'string'

/** SQL for a stored time as it is shown (see `db/instant.ts`); null stays null. */
export const boundedTime = (column: string) => `(case when ${column} is not null then greatest(least(${column}, '${LAST_INSTANT}'), '${FIRST_INSTANT}') end)`

/** A PostgreSQL array may have any number of dimensions, and contain nulls. */
export function toTags(stored: readonly unknown[]): string[] {
  if (stored.every(isText)) return stored as string[]
  return stored.flat(Infinity).filter(isText)
}

/** Progress is only a hint, so an unreadable one becomes null. */
export function toProgress(stored: unknown): Progress | null {
  return progressCheck.Check(stored) ? (stored as Progress) : null
}

/** A failure stays a failure, with as much of its text as there is. */
export function toFailure(stored: unknown, attempt: number): Failure | null {
  if (stored === null || failureCheck.Check(stored)) return stored as Failure | null
  const message: unknown = typeof stored === 'object' && stored !== null && 'message' in stored ? stored.message : stored
  return { code: 'error', message: (typeof message === 'string' ? message : JSON.stringify(stored)).slice(0, MAX_MESSAGE), attempt }
}

/** The fields that this version knows. */
export function toEditedFields(stored: readonly unknown[]): EditedField[] {
  return stored.flat(Infinity).filter((field) => editedFieldCheck.Check(field))
}
