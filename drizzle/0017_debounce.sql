CREATE TABLE "taskwire"."debounces" (
	"tenant" text DEFAULT 'default' NOT NULL,
	"type" text NOT NULL,
	"key" text NOT NULL,
	"task_id" uuid NOT NULL,
	"latest_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "debounces_tenant_type_key_pk" PRIMARY KEY("tenant","type","key")
);
--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "halts" boolean;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "debounce_key" text;--> statement-breakpoint
-- A task with a debounce key has started or ended: the next create with the key makes a new task. A create that has locked the row waits
-- for this task, so it is skipped here, and that create takes the row itself. If it is rolled back, the row is removed at the next status.
create or replace function taskwire.drop_debounce() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform from taskwire.debounces d
  where d.tenant = new.tenant and d.type = new.type and d.key = new.debounce_key and d.task_id = new.id
  for update skip locked;
  if found then
    delete from taskwire.debounces d where d.tenant = new.tenant and d.type = new.type and d.key = new.debounce_key and d.task_id = new.id;
  end if;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger tasks_drop_debounce after update of status on taskwire.tasks for each row when (
  new.debounce_key is not null and new.status <> 'SCHEDULED' and new.status <> old.status
) execute function taskwire.drop_debounce();
--> statement-breakpoint
drop function taskwire.create_task(text, jsonb, text, integer, text[], timestamptz, text, text, integer, uuid);
--> statement-breakpoint
-- As before, and with keys and a cost. The relay writes a task that may be held back into its lane. A sequence has the order of the
-- calls, whichever transaction commits first.
--
-- Creates a task inside the caller's transaction: it exists when that commits, and never did when it rolls back. The relay
-- delivers it (its delivery is due at once). The payload is checked against the schema of its type when it runs.
create function taskwire.create_task(
  type text,
  payload jsonb default '{}',
  title text default null,
  priority integer default 0,
  tags text[] default '{}',
  run_at timestamptz default null,
  tenant text default 'default',
  queue text default 'default',
  max_attempts integer default 3,
  parent_id uuid default null,
  concurrency_key text default null,
  sequence_key text default null,
  on_failure text default null,
  cost integer default null
) returns uuid language plpgsql
set search_path = pg_catalog, pg_temp
set standard_conforming_strings = on
set extra_float_digits = 1
as $$
declare
  -- UUIDv7 (RFC 9562): 48 bits of milliseconds, then what gen_random_uuid() made, with version 7 instead of 4.
  new_id uuid := encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;
  is_later boolean := coalesce(create_task.run_at > now(), false);
  inexact text;
begin
  if create_task.type is null or create_task.type !~ '^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*$' or length(create_task.type) > 100 then
    raise exception 'taskwire.create_task: type % is malformed', coalesce(quote_literal(create_task.type), 'null')
      using errcode = 'check_violation', hint = 'Use one of the types of GET /api/types, such as report.generate.';
  end if;
  if create_task.type = 'webhook.deliver' then
    raise exception 'taskwire.create_task: only the server makes tasks of type %', quote_literal(create_task.type)
      using errcode = 'check_violation', hint = 'Name another type. For a callback at the end of a task, create the task with POST /api/tasks and its callbackUrl.';
  end if;
  if length(create_task.title) not between 1 and 200 then
    raise exception 'taskwire.create_task: title has % characters', length(create_task.title)
      using errcode = 'check_violation', hint = 'A title has 1 to 200 characters; null takes the type.';
  end if;
  if create_task.payload is null then
    raise exception 'taskwire.create_task: payload is null'
      using errcode = 'check_violation', hint = 'Give a JSON value; leave the payload out for {}, or give ''null''::jsonb for null.';
  end if;
  if create_task.tenant is null then
    raise exception 'taskwire.create_task: tenant is null'
      using errcode = 'check_violation', hint = 'Leave the tenant out.';
  end if;
  if create_task.priority is null or create_task.priority not between 0 and 9 then
    raise exception 'taskwire.create_task: priority is %', coalesce(create_task.priority::text, 'null')
      using errcode = 'check_violation', hint = 'A priority is 0 (last) to 9 (first).';
  end if;
  if create_task.tags is null or array_ndims(create_task.tags) > 1 or cardinality(create_task.tags) > 20 or exists (select from unnest(create_task.tags) tag where tag is null or length(tag) not between 1 and 50) then
    raise exception 'taskwire.create_task: the tags do not fit'
      using errcode = 'check_violation', hint = 'Give one list of at most 20 tags of 1 to 50 characters.';
  end if;
  -- As it will be stored: rounded to milliseconds.
  if create_task.run_at::timestamptz(3) not between '0001-01-01 00:00:00+00'::timestamptz and '9999-12-31 23:59:59.999+00'::timestamptz then
    raise exception 'taskwire.create_task: run_at is %', create_task.run_at
      using errcode = 'check_violation', hint = 'Give a time in the years 0001 to 9999 (UTC), or null to start at once.';
  end if;
  if create_task.queue is null or create_task.queue !~ '^[a-z][a-z0-9-]*$' or length(create_task.queue) > 50 then
    raise exception 'taskwire.create_task: queue % is malformed', coalesce(quote_literal(create_task.queue), 'null')
      using errcode = 'check_violation', hint = 'A queue is named by up to 50 lower-case letters, digits and hyphens.';
  end if;
  if create_task.queue = 'webhook-deliver' then
    raise exception 'taskwire.create_task: the queue % is for callbacks only', quote_literal(create_task.queue)
      using errcode = 'check_violation', hint = 'Name another queue, or leave it out.';
  end if;
  if create_task.max_attempts is null or create_task.max_attempts not between 1 and 1000 then
    raise exception 'taskwire.create_task: max_attempts is %', coalesce(create_task.max_attempts::text, 'null')
      using errcode = 'check_violation', hint = 'A task has 1 to 1000 attempts.';
  end if;
  if length(create_task.concurrency_key) not between 1 and 200 or create_task.concurrency_key in ('.', '..') then
    raise exception 'taskwire.create_task: concurrency_key % is malformed', quote_literal(left(create_task.concurrency_key, 50))
      using errcode = 'check_violation', hint = 'A key has 1 to 200 characters, and is neither "." nor ".."; null for none.';
  end if;
  if length(create_task.sequence_key) not between 1 and 200 or create_task.sequence_key in ('.', '..') then
    raise exception 'taskwire.create_task: sequence_key % is malformed', quote_literal(left(create_task.sequence_key, 50))
      using errcode = 'check_violation', hint = 'A key has 1 to 200 characters, and is neither "." nor ".."; null for none.';
  end if;
  if create_task.on_failure not in ('halt', 'skip') or create_task.on_failure is not null and create_task.sequence_key is null then
    raise exception 'taskwire.create_task: on_failure is %', quote_literal(create_task.on_failure)
      using errcode = 'check_violation', hint = 'Give halt or skip together with a sequence_key, or leave it out.';
  end if;
  if create_task.cost not between 1 and 1000 then
    raise exception 'taskwire.create_task: cost is %', create_task.cost
      using errcode = 'check_violation', hint = 'A task costs 1 to 1000; null for 1.';
  end if;
  -- One rule for numbers, wherever a task comes from: one that 64-bit floating point would change is refused, not changed.
  select number #>> '{}' into inexact
  from jsonb_path_query(create_task.payload, 'strict $.** ? (@.type() == "number")') number, lateral (select (number #>> '{}')::numeric as exact) n
  where case
    when n.exact = 0 then false
    when abs(n.exact) > 1.7976931348623157e308 or abs(n.exact) < 4.9e-324 then true
    else n.exact::float8::text::numeric <> n.exact
  end
  limit 1;
  if inexact is not null then
    raise exception 'taskwire.create_task: the number % in the payload cannot be kept', left(inexact, 50)
      using errcode = 'check_violation', hint = 'Store it as a text: 64-bit floating point would change it.';
  end if;
  insert into taskwire.tasks (id, tenant, type, title, priority, tags, queue, max_attempts, parent_id, payload, status, run_at,
    concurrency_key, sequence_key, cost, halts)
  values (new_id, create_task.tenant, create_task.type, coalesce(create_task.title, create_task.type), create_task.priority,
    create_task.tags, create_task.queue, create_task.max_attempts, create_task.parent_id, create_task.payload, (case when is_later then 'SCHEDULED' else 'PENDING' end)::taskwire.task_status,
    case when is_later then create_task.run_at end,
    create_task.concurrency_key, create_task.sequence_key, create_task.cost,
    case when create_task.sequence_key is not null then coalesce(create_task.on_failure, 'halt') = 'halt' end);
  if create_task.sequence_key is not null then
    insert into taskwire.sequence_members (tenant, key, task_id, halts)
    values (create_task.tenant, create_task.sequence_key, new_id, coalesce(create_task.on_failure, 'halt') = 'halt');
  end if;
  insert into taskwire.transitions (task_id, version, tenant, status, attempt)
  select t.id, 1, t.tenant, t.status, 0 from taskwire.tasks t where t.id = new_id;
  insert into taskwire.deliveries (task_id, attempt, tenant, queue, priority, due_at)
  values (new_id, 1, create_task.tenant, create_task.queue, create_task.priority, case when is_later then create_task.run_at else now() end);
  return new_id;
end $$;
