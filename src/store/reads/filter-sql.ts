/**
 * The filters of tasks in SQL, one line per entry of `FILTERS`; the compiler checks that none is missing. Every statement
 * of a list begins with the same parameters: the tenant, the filters in the order of `FILTER_NAMES`, and the position.
 */
import type { Principal } from '../../access/principal.js'
import { FILTER_NAMES, type FilterName, type TaskFilter } from '../../protocol/filter.js'
import type { TaskId } from '../../protocol/task.js'

interface FilterSql {
  /** The column of `tasks` that the condition tests. */
  column: string
  /** @param column as the statement names it @param value an expression of type text, not null */
  fits(column: string, value: string): string
}

const FILTER_SQL = {
  status: { column: 'status', fits: (column, value) => `${column} = ${value}::taskwire.task_status` },
  type: { column: 'type', fits: (column, value) => `${column} = ${value}` },
  tag: { column: 'tags', fits: (column, value) => `${column} @> array[${value}]` },
  queue: { column: 'queue', fits: (column, value) => `${column} = ${value}` },
  batch: { column: 'batch_id', fits: (column, value) => `${column} = ${value}::uuid` },
  parent: { column: 'parent_id', fits: (column, value) => `${column} = ${value}::uuid` },
  createdAfter: { column: 'created_at', fits: (column, value) => `${column} >= ${value}::timestamptz` },
  createdBefore: { column: 'created_at', fits: (column, value) => `${column} < ${value}::timestamptz` },
  q: { column: 'title', fits: (column, value) => `strpos(lower(${column}), lower(${value})) > 0` },
} satisfies Record<FilterName, FilterSql>

/** The last task examined; the list continues behind it. */
export interface ListPosition {
  id: TaskId
  /** ISO 8601. Missing when the order is that of the ids. */
  createdAt?: string | undefined
}

const FIRST_FILTER = 2
const FIRST_OF_POSITION = FIRST_FILTER + FILTER_NAMES.length
const FIRST_FURTHER = FIRST_OF_POSITION + 2

/** The value of a filter, as an expression of type text; null if it is not set. */
export const valueOf = (name: FilterName) => `$${FIRST_FILTER + FILTER_NAMES.indexOf(name)}::text`
export const POSITION_ID = `$${FIRST_OF_POSITION}::text`
export const POSITION_TIME = `$${FIRST_OF_POSITION + 1}::text`
/** A statement's own parameter, behind those of every list; 0 is the first. */
export const further = (index: number) => `$${FIRST_FURTHER + index}`
/** The same for a statement that has the filter but no position. */
export const afterFilter = (index: number) => `$${FIRST_OF_POSITION + index}`

/** Whether the task `t` belongs to the tenant and matches. */
export const FITS = [
  't.tenant = $1',
  ...FILTER_NAMES.map(
    (name) => `(${valueOf(name)} is null or ${FILTER_SQL[name].fits(`t.${FILTER_SQL[name].column}`, valueOf(name))})`,
  ),
].join('\n  and ')

/** Columns of `t`, each once: these, and those that `FITS` tests. */
export function columnsToFit(...others: string[]): string {
  const columns = new Set(['id', 'tenant', ...others, ...FILTER_NAMES.map((name) => FILTER_SQL[name].column)])
  return [...columns].map((column) => `t.${column}`).join(', ')
}

/** The first parameters of a statement that has no position. */
export function filterParameters({ tenant }: Principal, filter: TaskFilter): (string | null)[] {
  return [tenant, ...FILTER_NAMES.map((name) => filter[name] ?? null)]
}

/** The first parameters of every statement of a list. */
export function parametersOf(
  principal: Principal,
  filter: TaskFilter,
  position: ListPosition | undefined,
): (string | null)[] {
  return [...filterParameters(principal, filter), position?.id ?? null, position?.createdAt ?? null]
}

/** Gives every parameter a type, because PostgreSQL refuses a statement that leaves one out. It is not read. */
export const GIVEN = `given as (select ${Array.from({ length: FIRST_FURTHER - 1 }, (_, index) => `$${index + 1}::text`).join(', ')})`
