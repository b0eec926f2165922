/**
 * The filter for tasks that are listed, followed or exported.
 *
 * Each filter is one entry of `FILTERS`. The REST list, streams, selections, sockets, exports and the page take their
 * filters from it. To add one, write its entry here; the compiler then names the tables of the store that need an entry
 * for it: its condition in SQL (`store/reads/filter-sql.ts`) and its index (`store/reads/list-walks.ts`).
 */
import { Type, type Static } from 'typebox'
import type { FieldError } from './errors.js'
import { MAX_TAG_LENGTH } from './limits.js'
import type { Notice, TaskFacts } from './notice.js'
import { Status } from './status.js'
import { FIRST_INSTANT, Instant, LAST_INSTANT, QueueName, TaskId, TaskType } from './task.js'
import { STORABLE_TEXT } from './storable.js'

export { isOrderedByTime } from '../../public/protocol.js'

/** A tag to filter by. */
const Tag = Type.String({ minLength: 1, maxLength: MAX_TAG_LENGTH, pattern: STORABLE_TEXT, examples: ['nightly'] })

const EARLIEST_MS = Date.parse(FIRST_INSTANT)
const LATEST_MS = Date.parse(LAST_INSTANT)

interface Filter<Schema extends Type.TSchema> {
  /** The schema of the value, a text, because filters are sent in a query string. Has a title and a description for forms and documents. */
  schema: Schema
  /**
   * Whether the task of a notice matches; undefined if this notice does not say. `null`: no notice can tell, and each
   * task that matches the other filters is read.
   */
  fits: ((wanted: Static<Schema>, notice: Notice) => boolean | undefined) | null
  /**
   * The value in the form that the store and streams accept, so that equal filters have equal texts; or an error that the
   * schema cannot express. If omitted, the value stays as it is.
   */
  read?(given: string): { value: string } | Omit<FieldError, 'pointer'>
}

const define = <Schema extends Type.TSchema>(filter: Filter<Schema>) => filter
/** For filters on the facts that a notice has of its task, if it has them. */
const byFacts =
  <Value>(test: (wanted: Value, facts: TaskFacts) => boolean) =>
  (wanted: Value, { facts }: Notice) =>
    facts && test(wanted, facts)
const readId = (given: string) => ({ value: given.toLowerCase() })

/**
 * A time in the form that PostgreSQL accepts, from any form that RFC 3339 allows. Stored times have whole milliseconds,
 * so a finer one is rounded up.
 */
function readInstant(text: string): { value: string } | Omit<FieldError, 'pointer'> {
  const [, finer = ''] = /\.\d{3}(\d+)/.exec(text) ?? []
  const milliseconds = Date.parse(text) + (Number(finer) > 0 ? 1 : 0)
  if (Number.isNaN(milliseconds))
    return { detail: 'is not a valid time', fix: 'Send a time such as 2026-11-20T21:22:23Z.' }
  return { value: new Date(Math.min(Math.max(milliseconds, EARLIEST_MS), LATEST_MS)).toISOString() }
}

export const FILTERS = {
  status: define({
    schema: { ...Status, title: 'Status', description: 'tasks in this status' },
    fits: (wanted, { status }) => wanted === status,
  }),
  type: define({
    schema: { ...TaskType, title: 'Type', description: 'tasks of this type' },
    fits: byFacts((wanted, { type }) => wanted === type),
  }),
  tag: define({
    schema: { ...Tag, title: 'Tag', description: 'tasks with this tag' },
    fits: byFacts((wanted, { tags }) => tags.includes(wanted)),
  }),
  queue: define({
    schema: { ...QueueName, title: 'Queue', description: 'tasks of this queue' },
    fits: byFacts((wanted, { queue }) => wanted === queue),
  }),
  batch: define({
    schema: { ...TaskId, title: 'Batch', description: 'tasks of this batch' },
    fits: byFacts((wanted, { batchId }) => wanted === batchId),
    read: readId,
  }),
  parent: define({
    schema: { ...TaskId, title: 'Parent', description: 'tasks created by this task' },
    fits: byFacts((wanted, { parentId }) => wanted === parentId),
    read: readId,
  }),
  createdAfter: define({
    schema: { ...Instant, title: 'Created after', description: 'created at this time or later' },
    fits: byFacts((wanted, { createdAt }) => Date.parse(createdAt) >= Date.parse(wanted)),
    read: readInstant,
  }),
  createdBefore: define({
    schema: {
      ...Instant,
      title: 'Created before',
      examples: ['2026-11-21T00:00:00Z'],
      description: 'created before this time',
    },
    fits: byFacts((wanted, { createdAt }) => Date.parse(createdAt) < Date.parse(wanted)),
    read: readInstant,
  }),
  q: define({
    schema: Type.String({
      minLength: 1,
      maxLength: 200,
      pattern: STORABLE_TEXT,
      examples: ['nightly report'],
      title: 'Text in the title',
      description: 'text in the title, case-insensitive',
    }),
    fits: null,
  }),
}

type Filters = typeof FILTERS
export type FilterName = keyof Filters
export const FILTER_NAMES = Object.keys(FILTERS) as FilterName[]

const properties = Object.fromEntries(FILTER_NAMES.map((name) => [name, Type.Optional(FILTERS[name].schema)])) as {
  [Name in FilterName]: Type.TOptional<Filters[Name]['schema']>
}

/** A task must match every field given. `{}` matches every task. */
export const TaskFilter = Type.Object(properties, { additionalProperties: false })
export type TaskFilter = Static<typeof TaskFilter>

/** The filters that are set, each in the one form that the store and streams accept; or what is wrong with one. */
export function readTaskFilter(given: { readonly [Name in FilterName]?: string | undefined }):
  { filter: TaskFilter } | { error: FieldError } {
  const filter: { [Name in FilterName]?: string } = {}
  for (const name of FILTER_NAMES) {
    const text = given[name]
    if (text === undefined) continue
    const { read = (value) => ({ value }) }: Pick<Filter<Type.TSchema>, 'read'> = FILTERS[name]
    const found = read(text)
    if (!('value' in found)) return { error: { pointer: `/${name}`, ...found } }
    filter[name] = found.value
  }
  const { createdAfter, createdBefore } = filter
  if (createdAfter !== undefined && createdBefore !== undefined && createdAfter >= createdBefore) {
    return {
      error: {
        pointer: '/createdBefore',
        detail: 'must be later than createdAfter',
        fix: 'Swap the two, or omit one of them.',
      },
    }
  }
  return { filter: filter as TaskFilter }
}

/** Whether the task matches after the change that the notice tells of; undefined if only the task itself can tell. */
export function fitsFilter(filter: TaskFilter, notice: Notice): boolean | undefined {
  let isSure = true
  for (const name of FILTER_NAMES) {
    const wanted = filter[name]
    if (wanted === undefined) continue
    const { fits } = FILTERS[name] as Filter<Type.TString>
    const isFitting = fits === null ? undefined : fits(wanted, notice)
    if (isFitting === false) return false
    isSure &&= isFitting === true
  }
  return isSure || undefined
}
