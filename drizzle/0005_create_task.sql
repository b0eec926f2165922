-- Creates a task inside the caller's transaction: it exists when that commits, and never did when it rolls back. The relay
-- delivers it (its delivery is due at once). The payload is checked against the schema of its type when it runs.
create or replace function taskwire.create_task(
  type text,
  payload jsonb default '{}',
  title text default null,
  priority integer default 0,
  tags text[] default '{}',
  run_at timestamptz default null,
  tenant text default 'default'
) returns uuid language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  -- UUIDv7 (RFC 9562): 48 bits of milliseconds, then what gen_random_uuid() made, with version 7 instead of 4.
  new_id uuid := encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6), 52, 1), 53, 1), 'hex')::uuid;
  is_later boolean := coalesce(create_task.run_at > now(), false);
begin
  if create_task.type is null or create_task.type !~ '^[a-z][a-z0-9-]*(\.[a-z][a-z0-9-]*)*$' or length(create_task.type) > 100 then
    raise exception 'taskwire.create_task: type % is malformed', coalesce(quote_literal(create_task.type), 'null')
      using errcode = 'check_violation', hint = 'Use one of the types of GET /api/types, such as report.generate.';
  end if;
  if length(create_task.title) not between 1 and 200 then
    raise exception 'taskwire.create_task: title has % characters', length(create_task.title)
      using errcode = 'check_violation', hint = 'A title has 1 to 200 characters; null takes the type.';
  end if;
  if create_task.priority not between 0 and 9 then
    raise exception 'taskwire.create_task: priority is %', create_task.priority
      using errcode = 'check_violation', hint = 'A priority is 0 (last) to 9 (first).';
  end if;
  if cardinality(create_task.tags) > 20 or exists (select from unnest(create_task.tags) tag where tag is null or length(tag) not between 1 and 50) then
    raise exception 'taskwire.create_task: the tags do not fit'
      using errcode = 'check_violation', hint = 'Give at most 20 tags of 1 to 50 characters.';
  end if;
  insert into taskwire.tasks (id, tenant, type, title, priority, tags, payload, status, run_at)
  values (new_id, create_task.tenant, create_task.type, coalesce(create_task.title, create_task.type), create_task.priority,
    create_task.tags, create_task.payload, (case when is_later then 'SCHEDULED' else 'PENDING' end)::taskwire.task_status,
    case when is_later then create_task.run_at end);
  insert into taskwire.transitions (task_id, version, tenant, status, attempt)
  select t.id, 1, t.tenant, t.status, 0 from taskwire.tasks t where t.id = new_id;
  insert into taskwire.deliveries (task_id, attempt, tenant, priority, due_at)
  values (new_id, 1, create_task.tenant, create_task.priority, case when is_later then create_task.run_at else now() end);
  return new_id;
end $$;
