/**
 * The last safeguard of the state machine: a trigger that refuses changes of status that `protocol/status.ts` does not
 * allow.
 *
 * The condition is plain SQL in WHEN, so an allowed change never enters PL/pgSQL (a PL/pgSQL row trigger on this path
 * costs more than half of the throughput). The migration under `drizzle/` holds the text generated here. A test keeps
 * the two equal, so changing the table of transitions requires a new migration. An edit is the next version in the same
 * status.
 */
import { IDLE_STATUSES, STATUSES, TRANSITIONS } from '../protocol/status.js'
import { inStatuses } from './status-sql.js'

/** The SQL that creates or replaces the guard on `tasks`. */
export function guardSql(): string {
  const allowed = STATUSES.filter((from) => TRANSITIONS[from].length > 0).map(
    (from) => `(old.status = '${from}' and new.status ${inStatuses(TRANSITIONS[from])})`,
  )
  const edits = `(old.status = new.status and old.status ${inStatuses(IDLE_STATUSES)})`
  return `create or replace function taskwire.refuse_transition() returns trigger language plpgsql as $$
begin
  raise exception 'task %: a change from % (version %) to % (version %) is not allowed',
    old.id, old.status, old.version, new.status, new.version using errcode = 'check_violation';
end $$;
--> statement-breakpoint
create or replace trigger tasks_guard_transition before update of status, version on taskwire.tasks for each row when (
  (old.status is distinct from new.status or old.version is distinct from new.version) and not (
    new.version = old.version + 1 and (
      ${[...allowed, edits].join('\n      or ')}
    )
  )
) execute function taskwire.refuse_transition();`
}
