-- As before, and what cannot be shown as REST shows it is refused: a start outside the years 0001 to 9999 (`infinity` is one), tags of
-- several dimensions, and null where a task always has a value. Settings of the caller's session change nothing: how a string is read
-- here, and how exactly a number is written.
--
-- Creates a task inside the caller's transaction: it exists when that commits, and never did when it rolls back. The relay
-- delivers it (its delivery is due at once). The payload is checked against the schema of its type when it runs.
create or replace function taskwire.create_task(
  type text,
  payload jsonb default '{}',
  title text default null,
  priority integer default 0,
  tags text[] default '{}',
  run_at timestamptz default null,
  tenant text default 'default',
  queue text default 'default',
  max_attempts integer default 3,
  parent_id uuid default null
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
  insert into taskwire.tasks (id, tenant, type, title, priority, tags, queue, max_attempts, parent_id, payload, status, run_at)
  values (new_id, create_task.tenant, create_task.type, coalesce(create_task.title, create_task.type), create_task.priority,
    create_task.tags, create_task.queue, create_task.max_attempts, create_task.parent_id, create_task.payload, (case when is_later then 'SCHEDULED' else 'PENDING' end)::taskwire.task_status,
    case when is_later then create_task.run_at end);
  insert into taskwire.transitions (task_id, version, tenant, status, attempt)
  select t.id, 1, t.tenant, t.status, 0 from taskwire.tasks t where t.id = new_id;
  insert into taskwire.deliveries (task_id, attempt, tenant, queue, priority, due_at)
  values (new_id, 1, create_task.tenant, create_task.queue, create_task.priority, case when is_later then create_task.run_at else now() end);
  return new_id;
end $$;
