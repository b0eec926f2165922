/**
 * Columns that can hold more shapes than the schemas of a task and a worker allow: the part of them that can be shown. None of these
 * functions throws.
 */
import { Type } from 'typebox'
import { Compile } from 'typebox/compile'
import { Nullable } from '../protocol/nullable.js'
import {
  EditedField,
  FIRST_INSTANT,
  LAST_INSTANT,
  type Failure,
  type Progress,
  type TaskSlot,
} from '../protocol/task.js'
import { WorkerQueue } from '../protocol/worker.js'

/** How much of a failure in an unknown format is shown, in characters. */
const MAX_MESSAGE = 1_000

const NumberOrNull = Nullable(Type.Number())
/**
 * The fields that readers of these values rely on. A value out of bounds, or a field of a later version, is shown as
 * stored.
 */
const progressCheck = Compile(
  Type.Object({
    fraction: NumberOrNull,
    done: NumberOrNull,
    total: NumberOrNull,
    message: Nullable(Type.String()),
    at: Type.String(),
  }),
)
const failureCheck = Compile(Type.Object({ code: Type.String(), message: Type.String(), attempt: Type.Number() }))
const slotCheck = Compile(
  Type.Object({ name: Type.String(), slot: Type.String(), previousSlot: Nullable(Type.String()) }),
)
const editedFieldCheck = Compile(EditedField)
const queueCheck = Compile(WorkerQueue)

const isText = (value: unknown) => typeof value === 'string'

/** SQL for a stored time as it is shown (see `db/instant.ts`); null stays null. */
export const boundedTime = (column: string) =>
  `(case when ${column} is not null then greatest(least(${column}, '${LAST_INSTANT}'), '${FIRST_INSTANT}') end)`

/** SQL for what `toTexts` makes of stored tags. An array of one dimension is asked for nulls, those of more cannot be. */
export const shownTags = (
  column: string,
) => `(case when array_ndims(${column}) > 1 or array_position(case when array_ndims(${column}) = 1 then ${column} end, null) is not null
  then (select coalesce(json_agg(tag order by place), '[]') from unnest(${column}) with ordinality as u(tag, place) where tag is not null) else to_json(${column}) end)`

/** Of the text of a jsonb value: a string, with its quotes. */
const JSON_STRING = String.raw`"(?:[^"\\]|\\.)*"`
/** A string, a number, which has no exponent there, or what lies between. */
const JSON_PART = `(${JSON_STRING}|-?[0-9][0-9.]*|[^"0-9-]+)`
/** More digits before the point than a double has: 310. One repetition has 255 at most. */
const BEYOND_DOUBLE = '([0-9]{155}){2}'

/** SQL for the text of a jsonb value as JavaScript reads it: a number beyond a double is null. Nearly no text is long enough to have one. */
export const shownJson = (text: string) => `(case when octet_length(${text}) >= 310 and ${text} ~ '${BEYOND_DOUBLE}'
  then (select string_agg(case when part[1] ~ '^-?${BEYOND_DOUBLE}' then 'null' else part[1] end, '' order by place) from regexp_matches(${text}, '${JSON_PART}', 'g') with ordinality as p(part, place))
  else ${text} end)`

/** SQL for what `toFailure` makes of a stored failure. */
export const shownFailure = (failure: string, attempt: string) => `(case
  when jsonb_typeof(${failure}) = 'null' then null
  when ${failure} is null or (jsonb_typeof(${failure}->'code') = 'string' and jsonb_typeof(${failure}->'message') = 'string' and jsonb_typeof(${failure}->'attempt') = 'number'
    and ${failure}->>'attempt' !~ '${BEYOND_DOUBLE}') then ${shownJson(`${failure}::text`)}::json
  else json_build_object('code', 'error', 'message', left(case
    when jsonb_typeof(${failure}) = 'string' then ${failure}#>>'{}' when jsonb_typeof(${failure}->'message') = 'string' then ${failure}->>'message'
    else regexp_replace(${failure}::text, '(${JSON_STRING})|\\s', '\\1', 'g') end, ${MAX_MESSAGE}), 'attempt', ${attempt}) end)`

/** SQL for what `toTaskSlot` makes of a stored slot. */
export const shownTaskSlot = (slot: string) => `(case
  when jsonb_typeof(${slot}->'name') = 'string' and jsonb_typeof(${slot}->'slot') = 'string' and jsonb_typeof(${slot}->'previousSlot') in ('string', 'null')
  then json_build_object('name', ${slot}->'name', 'slot', ${slot}->'slot', 'previousSlot', ${slot}->'previousSlot') end)`

/** A PostgreSQL array may have any number of dimensions, and contain nulls. */
export function toTexts(stored: readonly unknown[]): string[] {
  if (stored.every(isText)) return stored as string[]
  return stored.flat(Infinity).filter(isText)
}

/** Progress is only a hint, so an unreadable one becomes null. */
export function toProgress(stored: unknown): Progress | null {
  return progressCheck.Check(stored) ? (stored as Progress) : null
}

/** The slot of a schedule, for people, so an unreadable one becomes null. */
export function toTaskSlot(stored: unknown): TaskSlot | null {
  if (!slotCheck.Check(stored)) return null
  const { name, slot, previousSlot } = stored
  return { name, slot, previousSlot }
}

/** A failure stays a failure, with as much of its text as there is. */
export function toFailure(stored: unknown, attempt: number): Failure | null {
  if (stored === null || failureCheck.Check(stored)) return stored as Failure | null
  const message: unknown =
    typeof stored === 'object' && stored !== null && 'message' in stored ? stored.message : stored
  return {
    code: 'error',
    message: (typeof message === 'string' ? message : JSON.stringify(stored)).slice(0, MAX_MESSAGE),
    attempt,
  }
}

/** The fields that this version knows. */
export function toEditedFields(stored: readonly unknown[]): EditedField[] {
  return stored.flat(Infinity).filter((field) => editedFieldCheck.Check(field))
}

/** The queues of a worker that can be counted. */
export function toQueues(stored: unknown): WorkerQueue[] {
  return Array.isArray(stored) ? stored.filter((queue): queue is WorkerQueue => queueCheck.Check(queue)) : []
}
