/**
 * Checks that a database stores, guards and keeps what is written over our connections. A default of the server, the
 * database or the role can prevent that, and the symptoms come late and in odd places: every create fails, or creates
 * succeed and callbacks are never called. Our connections override the settings that a connection may set (see
 * `database-url.ts`). The others are checked here, at the start and by the doctor.
 * @see https://www.postgresql.org/docs/current/runtime-config-client.html
 */
import type postgres from 'postgres'
import { StartupError } from '../startup-error.js'

/** The database of DATABASE_URL cannot be used as it is set up. */
export class UnfitDatabaseError extends StartupError {
  override readonly name: string = 'UnfitDatabaseError'
}

/** No transaction of Taskwire takes longer, but for migrations, exports and those of handlers. */
const MIN_TRANSACTION_TIMEOUT_MS = 10_000
/** Tables whose rows are updated. All tables are read and inserted into. */
export const CHANGED_TABLES: readonly string[] = [
  ...['tasks', 'deliveries', 'leases', 'artifacts', 'workers', 'quarantined_types', 'debounces'],
  ...['unique_keys', 'idempotency_keys', 'epochs'],
  ...['release_turns', 'lanes', 'shares', 'levels', 'rates', 'sequence_members', 'queue_tenants'],
  ...['limits', 'pauses', 'weights', 'breakers', 'schedules', 'schedule_slots'],
]
/** Tables whose rows are deleted. */
export const EMPTIED_TABLES: readonly string[] = [
  'deliveries',
  'leases',
  'artifacts',
  'unique_keys',
  'idempotency_keys',
  'task_tags',
  'workers',
  'debounces',
  ...['arrivals', 'wakes', 'holds', 'lanes', 'shares', 'rates', 'sequence_members', 'queue_tenants'],
  ...['limits', 'pauses', 'weights', 'schedules', 'schedule_slots'],
]

interface State {
  role: string
  database: string
  isStandby: boolean
  readOnly: string
  replication: string
  commit: string
  transactionTimeoutMs: number
  hasSchema: boolean
  silentTriggers: string | null
  hiddenTables: string | null
  missingRights: string | null
}

const list = (names: readonly string[]) => names.map((name) => `'${name}'`).join(', ')

/** Without parameters, as everything that runs beside a migration. */
const READ_STATE = `
with tables as (
  select c.oid, c.relname as name from pg_class c where c.relnamespace = to_regnamespace('taskwire') and c.relkind in ('r', 'p') and c.relname <> 'migrations'
)
select current_user as role, current_database() as database, pg_is_in_recovery() as "isStandby",
  current_setting('default_transaction_read_only') as "readOnly", current_setting('session_replication_role') as replication,
  current_setting('synchronous_commit') as commit,
  coalesce((select setting::float8 from pg_settings where name = 'transaction_timeout'), 0) as "transactionTimeoutMs",
  coalesce(has_schema_privilege(to_regnamespace('taskwire'), 'usage'), true) as "hasSchema",
  (select string_agg(name || '.' || tgname, ', ' order by name, tgname) from tables join pg_trigger on tgrelid = tables.oid where not tgisinternal and tgenabled in ('D', 'R')) as "silentTriggers",
  (select string_agg(name, ', ' order by name) from tables where row_security_active(oid)) as "hiddenTables",
  (select string_agg(name || ' (' || rights || ')', ', ' order by name) from (
    select name, string_agg(right_name, ', ' order by right_name) as rights from tables cross join (values ('select'), ('insert'), ('update'), ('delete')) r(right_name)
    where (right_name in ('select', 'insert') or (right_name = 'update' and name in (${list(CHANGED_TABLES)})) or (right_name = 'delete' and name in (${list(EMPTIED_TABLES)})))
      and not has_table_privilege(oid, right_name)
    group by name) m) as "missingRights"`

/**
 * @param client connected with the settings of `database-url.ts`
 * @throws UnfitDatabaseError with one line that says what was found and what to do
 */
export async function assertWritable(client: postgres.Sql, server: string): Promise<void> {
  const [state] = await client.unsafe<State[]>(READ_STATE)
  const fault = state && findFault(state)
  if (fault !== undefined) throw new UnfitDatabaseError(`PostgreSQL at ${server} cannot be used as it is: ${fault}`)
}

/** The first that keeps Taskwire from working. */
function findFault({ role, database, isStandby, hasSchema, ...state }: State): string | undefined {
  const reset = (setting: string) =>
    `"alter database ${quote(database)} reset ${setting}", or "alter role ${quote(role)} reset ${setting}" where the role has it`
  if (isStandby) return 'it is a standby (a read replica), which takes no writes. Point DATABASE_URL at the primary.'
  if (state.readOnly === 'on') {
    return (
      `default_transaction_read_only is on, so that nothing can be written. Find out who set it and why (a full disk, a migration), then undo it, after "set default_transaction_read_only = off": ${reset('default_transaction_read_only')}; ` +
      'or add options=-c%20default_transaction_read_only%3Doff to DATABASE_URL.'
    )
  }
  if (state.replication === 'replica') {
    return `session_replication_role is replica, so that the triggers that guard tasks and keep callbacks do not run. Undo it as superuser: ${reset('session_replication_role')}.`
  }
  if (state.commit === 'off')
    return 'synchronous_commit is off in DATABASE_URL, so that accepted tasks are lost when the server crashes. Take it out of DATABASE_URL.'
  if (state.transactionTimeoutMs > 0 && state.transactionTimeoutMs < MIN_TRANSACTION_TIMEOUT_MS) {
    return `transaction_timeout is ${state.transactionTimeoutMs} ms, which ends work that is under way. Set it to ${MIN_TRANSACTION_TIMEOUT_MS / 1_000} s or more, or undo it: ${reset('transaction_timeout')}.`
  }
  if (!hasSchema)
    return `the role ${quote(role)} may not use the schema taskwire. As its owner: grant usage on schema taskwire to ${quote(role)}.`
  if (state.missingRights !== null) {
    return `the role ${quote(role)} lacks rights to tables of the schema taskwire: ${state.missingRights}. As their owner: grant select, insert, update, delete on all tables in schema taskwire to ${quote(role)}.`
  }
  if (state.hiddenTables !== null) {
    return `row-level security hides rows from the role ${quote(role)} in the schema taskwire: ${state.hiddenTables}. Let the role own the tables, or: alter role ${quote(role)} bypassrls.`
  }
  if (state.silentTriggers === null) return undefined
  return `triggers that guard tasks and keep callbacks are switched off: ${state.silentTriggers}. As the owner of each table: alter table taskwire.<table> enable trigger <trigger>.`
}

/** @see https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS */
function quote(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}
