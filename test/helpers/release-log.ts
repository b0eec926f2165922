/**
 * The log of the release: triggers of the test's database write what the release, the claims and the ends of attempts do,
 * and what limits, pauses and sequences there are, in one order. Handlers add notes of their own.
 *
 * What a statement does because it has seen another is logged after that: the ids are taken while both are under way.
 */
import type { Database } from '../../src/db/database.js'

interface Entry {
  id: number
  /** The time of the entry, and of the beginning of its transaction, in milliseconds since 1970. */
  atMs: number
  begunAtMs: number
}

/** What happens to an attempt. */
export type AttemptKind =
  | 'released'
  /** It was released, and is not any more. */
  | 'returned'
  /** Its delivery is deleted: it was claimed, or its task has ended. */
  | 'undelivered'
  | 'leased'
  | 'unleased'
  /** Notes of its handler. */
  | 'began'
  | 'ended'
  | 'paused'

export interface LoggedLimit {
  name: string
  types: string[] | null
  queue: string | null
  tenant: string | null
  per: 'all' | 'tenant' | 'key'
  concurrency: number | null
  rate: number | null
  period_ms: number | null
  burst: number | null
  when_over: 'delay' | 'skip'
  ramp_since: string | null
}

export interface LoggedPause {
  kind: 'queue' | 'type' | 'tenant' | 'key'
  tenant: string
  name: string
  set_by: string
  until: string | null
}

export interface LoggedMember {
  tenant: string
  key: string
  position: number
  task_id: string
}

export type LogEntry = Entry &
  (
    | { kind: AttemptKind; taskId: string; attempt: number; row: { name?: string } }
    | { kind: 'limit set' | 'limit deleted'; row: LoggedLimit }
    | { kind: 'pause set' | 'pause deleted'; row: LoggedPause }
    | { kind: 'joined' | 'halted' | 'left'; row: LoggedMember }
  )

/** What the log must know of each task; none of it changes. */
export interface LoggedTask {
  id: string
  type: string
  queue: string
  tenant: string
  key: string | null
  sequence: string | null
  cost: number
}

const INSTALL = `
create schema observed;
create table observed.log (
  id bigserial primary key,
  at timestamptz not null default clock_timestamp(),
  begun_at timestamptz not null default now(),
  kind text not null,
  task_id uuid,
  attempt integer,
  data jsonb not null default '{}'
);
create function observed.note(kind text, task_id uuid, attempt integer, name text) returns void language sql as $$
  insert into observed.log (kind, task_id, attempt, data) values (kind, task_id, attempt, jsonb_strip_nulls(jsonb_build_object('name', name)))
$$;
create function observed.log_row() returns trigger language plpgsql as $$
declare
  data jsonb := case when tg_op = 'DELETE' then to_jsonb(old) else to_jsonb(new) end;
begin
  insert into observed.log (kind, task_id, attempt, data) values (tg_argv[0], (data->>'task_id')::uuid, (data->>'attempt')::integer, data);
  return null;
end $$;
-- Counts what is released or running each 10 ms: of a type, and of the one of its keys that has the most.
create function observed.sample(of_type text, rounds integer) returns table (samples integer, most_of_all integer, most_of_key integer)
language plpgsql set enable_seqscan = off as $$
declare
  of_all integer;
  of_key integer;
begin
  most_of_all := 0;
  most_of_key := 0;
  for round in 1 .. rounds loop
    with active as (
      select t.tenant, t.concurrency_key
      from (select task_id from taskwire.leases union select task_id from taskwire.deliveries where is_released) a
      join taskwire.tasks t on t.id = a.task_id
      where t.type = of_type
    )
    select count(*), coalesce((
        select max(k.count) from (select count(*) from active where concurrency_key is not null group by tenant, concurrency_key) k
      ), 0)
    into of_all, of_key
    from active;
    samples := round;
    most_of_all := greatest(most_of_all, of_all);
    most_of_key := greatest(most_of_key, of_key);
    perform pg_sleep(0.01);
  end loop;
  return next;
end $$;
create trigger observed_leased after insert on taskwire.leases for each row execute function observed.log_row('leased');
create trigger observed_unleased after delete on taskwire.leases for each row execute function observed.log_row('unleased');
create trigger observed_released after update of is_released on taskwire.deliveries for each row
when (new.is_released and not old.is_released) execute function observed.log_row('released');
create trigger observed_returned after update of is_released on taskwire.deliveries for each row
when (old.is_released and not new.is_released) execute function observed.log_row('returned');
create trigger observed_undelivered after delete on taskwire.deliveries for each row
when (old.is_released) execute function observed.log_row('undelivered');
create trigger observed_limit after insert or update on taskwire.limits for each row execute function observed.log_row('limit set');
create trigger observed_no_limit after delete on taskwire.limits for each row execute function observed.log_row('limit deleted');
create trigger observed_pause after insert or update on taskwire.pauses for each row execute function observed.log_row('pause set');
create trigger observed_no_pause after delete on taskwire.pauses for each row execute function observed.log_row('pause deleted');
create trigger observed_joined after insert on taskwire.sequence_members for each row execute function observed.log_row('joined');
create trigger observed_halted after update of halted_at on taskwire.sequence_members for each row
when (new.halted_at is not null) execute function observed.log_row('halted');
create trigger observed_left after delete on taskwire.sequence_members for each row execute function observed.log_row('left');
`

/** Begins the log. */
export async function openReleaseLog(db: Database): Promise<void> {
  const statements = INSTALL.split(/;\n(?=create |--|$)/).filter((text) => text.trim() !== '')
  for (const [index, text] of statements.entries()) await db.run({ name: `observed_${index}`, text }, [])
}

/** Takes away the net under the release, which would hide a lane that nothing wakes. */
export async function removeReleaseNet(db: Database): Promise<void> {
  const text = `create or replace function taskwire.repair_release() returns integer language sql as 'select 0'`
  await db.run({ name: 'remove_release_net', text }, [])
}

export async function readReleaseLog(db: Database): Promise<{ log: LogEntry[]; tasks: LoggedTask[] }> {
  const log = await db.run<LogEntry>(
    {
      name: 'release_log',
      text: `select id::integer as id, extract(epoch from at)::float8 * 1000 as "atMs", extract(epoch from begun_at)::float8 * 1000 as "begunAtMs",
  kind, task_id as "taskId", attempt, data as row from observed.log order by log.id`,
    },
    [],
  )
  const tasks = await db.run<LoggedTask>(
    {
      name: 'logged_tasks',
      text: `select id, type, queue, tenant, concurrency_key as key, sequence_key as sequence, coalesce(cost, 1)::integer as cost from taskwire.tasks`,
    },
    [],
  )
  return { log, tasks }
}
