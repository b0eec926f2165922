CREATE TABLE "taskwire"."arrivals" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "taskwire"."arrivals_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"lane_id" bigint NOT NULL,
	"queue" text NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"type" text NOT NULL,
	"priority" smallint NOT NULL,
	"key" text NOT NULL,
	"sequence_key" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "taskwire"."breakers" (
	"type" text PRIMARY KEY NOT NULL,
	"changed_at" timestamp (3) with time zone NOT NULL,
	"trips" integer NOT NULL
);
--> statement-breakpoint
CREATE TABLE "taskwire"."holds" (
	"limit_name" text NOT NULL,
	"subject" text NOT NULL,
	"task_id" uuid NOT NULL,
	CONSTRAINT "holds_limit_name_subject_task_id_pk" PRIMARY KEY("limit_name","subject","task_id")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."lanes" (
	"id" bigint PRIMARY KEY NOT NULL,
	"queue" text NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"type" text NOT NULL,
	"priority" smallint NOT NULL,
	"key" text NOT NULL,
	"sequence_key" text NOT NULL,
	"tag" double precision DEFAULT 0 NOT NULL,
	"is_waiting" boolean DEFAULT true NOT NULL,
	"blocked_by" text,
	"released_at" timestamp (6) with time zone
);
--> statement-breakpoint
CREATE TABLE "taskwire"."levels" (
	"queue" text NOT NULL,
	"priority" smallint NOT NULL,
	"time" double precision DEFAULT 0 NOT NULL,
	CONSTRAINT "levels_queue_priority_pk" PRIMARY KEY("queue","priority")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."limits" (
	"name" text PRIMARY KEY NOT NULL,
	"types" text[],
	"queue" text,
	"tenant" text,
	"per" text DEFAULT 'all' NOT NULL,
	"concurrency" integer,
	"rate" integer,
	"period_ms" double precision,
	"burst" integer,
	"when_over" text DEFAULT 'delay' NOT NULL,
	"ramp_since" timestamp (3) with time zone,
	"is_from_code" boolean DEFAULT false NOT NULL,
	"set_by" text NOT NULL,
	"set_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"reason" text
);
--> statement-breakpoint
CREATE TABLE "taskwire"."pauses" (
	"kind" text NOT NULL,
	"tenant" text DEFAULT '' NOT NULL,
	"name" text NOT NULL,
	"reason" text,
	"set_by" text NOT NULL,
	"set_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"until" timestamp (3) with time zone,
	CONSTRAINT "pauses_kind_tenant_name_pk" PRIMARY KEY("kind","tenant","name")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."queue_tenants" (
	"queue" text NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"seen_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "queue_tenants_queue_tenant_pk" PRIMARY KEY("queue","tenant")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."rates" (
	"limit_name" text NOT NULL,
	"subject" text NOT NULL,
	"next_at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "rates_limit_name_subject_pk" PRIMARY KEY("limit_name","subject")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."release_turns" (
	"queue" text PRIMARY KEY NOT NULL,
	"turn" bigint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "taskwire"."sequence_members" (
	"tenant" text DEFAULT 'default' NOT NULL,
	"key" text NOT NULL,
	"position" bigint GENERATED ALWAYS AS IDENTITY (sequence name "taskwire"."sequence_members_position_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"task_id" uuid NOT NULL,
	"halts" boolean NOT NULL,
	"halted_at" timestamp (3) with time zone,
	CONSTRAINT "sequence_members_tenant_key_position_pk" PRIMARY KEY("tenant","key","position")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."shares" (
	"queue" text NOT NULL,
	"priority" smallint NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"tag" double precision DEFAULT 0 NOT NULL,
	"key_time" double precision DEFAULT 0 NOT NULL,
	"is_ready" boolean DEFAULT true NOT NULL,
	CONSTRAINT "shares_queue_priority_tenant_pk" PRIMARY KEY("queue","priority","tenant")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."wakes" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "taskwire"."wakes_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"blocked_by" text NOT NULL,
	"at" timestamp (6) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "taskwire"."weights" (
	"kind" text NOT NULL,
	"tenant" text NOT NULL,
	"key" text DEFAULT '' NOT NULL,
	"weight" double precision NOT NULL,
	"set_by" text NOT NULL,
	"set_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"reason" text,
	CONSTRAINT "weights_kind_tenant_key_pk" PRIMARY KEY("kind","tenant","key")
);
--> statement-breakpoint
ALTER TABLE "taskwire"."deliveries" ADD COLUMN "lane_id" bigint;--> statement-breakpoint
ALTER TABLE "taskwire"."deliveries" ADD COLUMN "ready_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "taskwire"."deliveries" ADD COLUMN "is_released" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "taskwire"."leases" ADD COLUMN "has_holds" boolean DEFAULT false NOT NULL;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "concurrency_key" text;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "sequence_key" text;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "cost" smallint;--> statement-breakpoint
ALTER TABLE "taskwire"."workers" ADD COLUMN "outcomes" jsonb;--> statement-breakpoint
CREATE INDEX "holds_task_idx" ON "taskwire"."holds" USING btree ("task_id");--> statement-breakpoint
CREATE INDEX "lanes_ready_idx" ON "taskwire"."lanes" USING btree ("queue","priority","tenant","tag","released_at" NULLS FIRST) WHERE "taskwire"."lanes"."is_waiting" and "taskwire"."lanes"."blocked_by" is null;--> statement-breakpoint
CREATE INDEX "lanes_blocked_idx" ON "taskwire"."lanes" USING btree ("blocked_by") WHERE "taskwire"."lanes"."blocked_by" is not null;--> statement-breakpoint
CREATE INDEX "lanes_key_idx" ON "taskwire"."lanes" USING btree ("queue","priority","tenant","key","sequence_key");--> statement-breakpoint
CREATE INDEX "sequence_members_halted_idx" ON "taskwire"."sequence_members" USING btree ("tenant","key") WHERE "taskwire"."sequence_members"."halted_at" is not null;--> statement-breakpoint
CREATE INDEX "sequence_members_task_idx" ON "taskwire"."sequence_members" USING btree ("task_id");--> statement-breakpoint
CREATE INDEX "shares_ready_idx" ON "taskwire"."shares" USING btree ("queue","priority" DESC NULLS LAST,"tag") WHERE "taskwire"."shares"."is_ready";--> statement-breakpoint
CREATE INDEX "wakes_at_idx" ON "taskwire"."wakes" USING btree ("at");--> statement-breakpoint
CREATE INDEX "wakes_blocked_by_idx" ON "taskwire"."wakes" USING btree ("blocked_by","at");--> statement-breakpoint
CREATE INDEX "deliveries_lane_idx" ON "taskwire"."deliveries" USING btree ("lane_id","ready_at","task_id") WHERE "taskwire"."deliveries"."lane_id" is not null and not "taskwire"."deliveries"."is_released";--> statement-breakpoint
CREATE INDEX "deliveries_released_idx" ON "taskwire"."deliveries" USING btree ("queue") WHERE "taskwire"."deliveries"."is_released";--> statement-breakpoint
insert into taskwire.release_turns (queue) values ('') on conflict do nothing;
--> statement-breakpoint
-- Names what a limit counts for a task: everything, the tenant's tasks, or those of the tenant with the same key. It is stable and not
-- immutable, as json_build_array is: so it is inlined, which saves a call for each task.
create or replace function taskwire.subject_of(per text, tenant text, key text) returns text language sql stable parallel safe as $$
  select case per when 'all' then '' when 'tenant' then tenant else json_build_array(tenant, key)::text end
$$;
--> statement-breakpoint
-- Whether a limit is about the tasks of a lane.
create or replace function taskwire.applies(l taskwire.limits, lane taskwire.lanes) returns boolean language sql immutable parallel safe as $$
  select (l.types is null or lane.type = any (l.types)) and (l.queue is null or l.queue = lane.queue) and (l.tenant is null or l.tenant = lane.tenant)
    and (l.per <> 'key' or lane.key <> '')
$$;
--> statement-breakpoint
-- Whether a pause holds the tasks of a lane now.
create or replace function taskwire.is_held_by(p taskwire.pauses, lane taskwire.lanes) returns boolean language sql volatile parallel safe as $$
  select ((p.kind, p.tenant, p.name) in (('queue', '', lane.queue), ('type', '', lane.type), ('tenant', '', lane.tenant))
      or lane.key <> '' and (p.kind, p.tenant, p.name) = ('key', lane.tenant, lane.key))
    and (p.until is null or p.until > clock_timestamp())
$$;
--> statement-breakpoint
-- How many attempts a limit allows at a time. After a pause that is 1, and doubles each second. Volatile, as clock_timestamp is: see above.
create or replace function taskwire.allowed_by(concurrency integer, ramp_since timestamptz) returns integer language sql volatile parallel safe as $$
  select least(concurrency, case when ramp_since is not null
    then power(2, least(20, greatest(0, floor(extract(epoch from clock_timestamp() - ramp_since)))))::integer end)
$$;
--> statement-breakpoint
-- How many attempts of a queue the workers that take tasks run at a time. Rows of any shape can be read: people may write them.
create or replace function taskwire.slots_of(queue text) returns integer language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(sum(case when q->>'slots' ~ '^\d{1,5}$' then (q->>'slots')::integer end), 0)::integer
  from taskwire.workers w, jsonb_path_query(w.queues, '$[*]') q
  where w.lease_until > now() and not w.is_stopping and w.drained_at is null and q->>'name' = slots_of.queue
$$;
--> statement-breakpoint
-- Makes lanes ready again that this has blocked. Of those blocked by a limit only as many as it has room for, those whose turn
-- it is first: a thousand lanes may wait for one slot. In each queue, because another may have no slot for them.
create or replace function taskwire.unblock_lanes(blocker text) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  limit_name text := split_part(blocker, ' ', 2);
  counted text := substr(blocker, length(limit_name) + 8);
  room integer;
begin
  if blocker = '*' then
    update taskwire.lanes set blocked_by = null where blocked_by is not null;
    update taskwire.shares s set is_ready = true where exists (
      select from taskwire.lanes l where l.queue = s.queue and l.priority = s.priority and l.tenant = s.tenant and l.is_waiting and l.blocked_by is null
    );
    return;
  end if;
  if blocker like 'limit %' then
    select case
      when l.rate is not null then greatest(1, taskwire.rate_room(l, counted))
      else taskwire.allowed_by(l.concurrency, l.ramp_since) - (select count(*) from taskwire.holds h where h.limit_name = l.name and h.subject = counted)
    end into room
    from taskwire.limits l where l.name = limit_name;
  end if;
  -- Without a limit of this name any more, all.
  with woken as (
    update taskwire.lanes l set blocked_by = null
    from (
      select b.id, row_number() over (partition by b.queue order by b.priority desc, s.tag, b.tag, b.released_at nulls first) as place
      from taskwire.lanes b
      join taskwire.shares s on s.queue = b.queue and s.priority = b.priority and s.tenant = b.tenant
      where b.blocked_by = blocker
    ) first
    where l.id = first.id and (room is null or first.place <= room)
    returning l.queue, l.priority, l.tenant
  )
  update taskwire.shares s set is_ready = true
  from (select distinct queue, priority, tenant from woken) w
  where s.queue = w.queue and s.priority = w.priority and s.tenant = w.tenant and not s.is_ready;
end $$;
--> statement-breakpoint
-- The next starts of a priority, in order, if nothing holds any (start-time fair queueing: Goyal, Vin and Cheng, 1996). First the tenants
-- take turns, and then the keys of each: the one with the least tag is next, and each start moves its tag on by 1 / weight. The lanes of a
-- key take turns, too. Answers with the virtual time of each start among the tenants and among the keys, the tags after it, and which of
-- the lane's deliveries it is. The lane is null when a tenant has none that is ready.
create or replace function taskwire.next_starts(queue text, level smallint, virtual double precision, most integer, has_weights boolean)
returns table (place bigint, tenant text, "time" double precision, tag double precision, key_time double precision, key_tag double precision, lane taskwire.lanes, nth integer)
language sql stable as $$
  with tenants as (
    select s.tenant, s.tag, greatest(s.tag, virtual) as "time", s.key_time, row_number() over turn as place,
      case when count(*) over turn = most then max(s.tag) over turn else 'Infinity' end as last_tag,
      case when has_weights then coalesce((select 1 / w.weight from taskwire.weights w where w.kind = 'tenant' and w.tenant = s.tenant and w.key = ''), 1) else 1 end as step
    from (
      select * from taskwire.shares s
      where s.queue = next_starts.queue and s.priority = level and s.is_ready order by s.tag limit most
    ) s
    window turn as (order by s.tag rows between unbounded preceding and unbounded following)
  ), tenant_starts as (
    select t.tenant, t.key_time, t."time" + n.nth * t.step as "time", t.step, n.nth,
      row_number() over (order by case n.nth when 0 then t.tag else t."time" + n.nth * t.step end, n.nth, t.place) as place
    from tenants t, generate_series(0, least(most - t.place, greatest(0, floor((t.last_tag - t."time") / t.step)))::integer) n(nth)
    order by place limit most
  ), keys as (
    select t.*, k.tag, greatest(k.tag, t.key_time) as "time", k.lanes, row_number() over turn as place,
      case when count(*) over turn = t.starts then max(k.tag) over turn else 'Infinity' end as last_tag,
      case when has_weights then coalesce((select 1 / w.weight from taskwire.weights w where w.kind = 'key' and w.tenant = t.tenant and w.key = k.key), 1) else 1 end as step
    from (select s.tenant, s.key_time, count(*)::integer as starts from tenant_starts s group by s.tenant, s.key_time) t,
    lateral (
      select l.key, l.tag, l.released_at, of_key.lanes
      from taskwire.lanes l,
      lateral (
        select array(
          select sibling::taskwire.lanes from (
            -- By itself, or the planner would look for the key among all lanes that are ready.
            select * from taskwire.lanes other
            where other.queue = l.queue and other.priority = l.priority and other.tenant = l.tenant and other.key = l.key and other.sequence_key = l.sequence_key
            offset 0
          ) sibling
          where sibling.is_waiting and sibling.blocked_by is null order by sibling.tag, sibling.released_at nulls first
        ) as lanes
        offset 0
      ) of_key
      -- The first lane of each key stands for all.
      where l.queue = next_starts.queue and l.priority = level and l.tenant = t.tenant and l.is_waiting and l.blocked_by is null
        and (of_key.lanes[1]).id = l.id
      order by l.tag, l.released_at nulls first limit t.starts
    ) k
    window turn as (partition by t.tenant order by k.tag, k.released_at nulls first rows between unbounded preceding and unbounded following)
  ), key_starts as (
    select k.tenant, k."time" + n.nth * k.step as "time", k.step, k.lanes[n.nth % cardinality(k.lanes) + 1] as lane, n.nth / cardinality(k.lanes) as nth,
      row_number() over (
        partition by k.tenant order by case n.nth when 0 then k.tag else k."time" + n.nth * k.step end, n.nth, k.place
      ) - 1 as nth_of_tenant
    from keys k, generate_series(0, least(k.starts - k.place, greatest(0, floor((k.last_tag - k."time") / k.step)))::integer) n(nth)
  )
  select t.place, t.tenant, t."time", t."time" + t.step, k."time", k."time" + k.step, k.lane, k.nth
  from tenant_starts t left join key_starts k on k.tenant = t.tenant and k.nth_of_tenant = t.nth
$$;
--> statement-breakpoint
-- The release: chooses the deliveries that may be claimed next, and says which they are. Only one runs at a time, in any process. A
-- process that makes room calls it, and the relay polls.
--
-- For each queue, while it has fewer released deliveries than its workers have slots:
-- 1. the highest priority; at every eighth release another, in rotation, so that none starves;
-- 2. its next starts, up to the first that something may hold: they are released together, by one statement;
-- 3. that one by itself: the first delivery of its lane, unless a pause, its sequence or a limit holds it. Then the lane is blocked by
--    that, and what ends it leaves a row in `wakes`.
--
-- Its plans are made once, often while the tables are nearly empty: hence the settings (see `STATEMENT_SETTINGS`).
create or replace function taskwire.release_deliveries(most integer, claim_window_ms double precision)
returns table (task_id uuid, attempt integer, queue text, skipped_by text, wake_in_ms double precision, is_full boolean) language plpgsql
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  steps integer := 0;
  last_step integer;
  has_more boolean := false;
  released integer := 0;
  current_turn bigint;
  first_turn bigint;
  waiting_queues text[];
  waiting_queue text;
  first_queue bigint;
  blocker text;
  slots integer;
  room integer;
  has_filled boolean := false;
  level smallint;
  lower_level smallint;
  ready_levels smallint[];
  -- How many starts are chosen together, and how many steps to take until that is worth trying again.
  many integer;
  found_now integer;
  patience integer;
  start record;
  share taskwire.shares;
  lane taskwire.lanes;
  first_id uuid;
  is_overtaken boolean;
  head record;
  cost integer := 1;
  over_name text;
  -- Skipped by this call.
  skipped uuid[] := '{}';
  virtual double precision;
  key_virtual double precision;
  tenant_step double precision := 1;
  key_step double precision := 1;
  timed_level smallint;
  -- Read once, so that steps skip the checks for which there is nothing.
  has_limits boolean;
  has_rates boolean;
  has_pauses boolean;
  has_weights boolean;
begin
  select t.turn into first_queue from taskwire.release_turns t where t.queue = '' for update;

  select count(*) > 0, coalesce(bool_or(l.rate is not null), false), exists (select from taskwire.pauses), exists (select from taskwire.weights)
  into has_limits, has_rates, has_pauses, has_weights from taskwire.limits l;

  -- What has happened since the last release.
  with arrived as (
    delete from taskwire.arrivals returning *
  ), known as (
    insert into taskwire.lanes as l (id, queue, tenant, type, priority, key, sequence_key)
    select distinct a.lane_id, a.queue, a.tenant, a.type, a.priority, a.key, a.sequence_key from arrived a
    on conflict (id) do update set is_waiting = true where not l.is_waiting
  ), of_sequences as (
    -- The next of a sequence may have arrived, or what ran out of turn is over.
    insert into taskwire.wakes (blocked_by)
    select distinct 'sequence ' || a.tenant || ' ' || a.sequence_key from arrived a where a.sequence_key <> ''
  )
  insert into taskwire.shares as s (queue, priority, tenant)
  select distinct a.queue, a.priority, a.tenant from arrived a
  on conflict (queue, priority, tenant) do update set is_ready = true where not s.is_ready;
  for blocker in
    with due as (delete from taskwire.wakes w where w.at <= clock_timestamp() returning w.blocked_by)
    select distinct d.blocked_by from due d
    -- Not `exists`, for which the planner would read all lanes.
    where d.blocked_by = '*' or (select true from taskwire.lanes l where l.blocked_by = d.blocked_by limit 1)
  loop
    perform taskwire.unblock_lanes(blocker);
  end loop;

  -- From one queue to the next in the index, however many tenants are in between. Each call begins with another queue.
  select array_agg(q.queue) into waiting_queues from (
    with recursive names as (
      (select s.queue from taskwire.shares s where s.is_ready order by s.queue limit 1)
      union all
      select (select s.queue from taskwire.shares s where s.is_ready and s.queue > n.queue order by s.queue limit 1) from names n where n.queue is not null
    )
    select n.queue from names n where n.queue is not null
  ) q;
  for place in 1 .. coalesce(cardinality(waiting_queues), 0) loop
    waiting_queue := waiting_queues[(place + first_queue) % cardinality(waiting_queues) + 1];
    select coalesce(max(t.turn), 0) into current_turn from taskwire.release_turns t where t.queue = waiting_queue;
    first_turn := current_turn;
    patience := 0;
    slots := taskwire.slots_of(waiting_queue);
    select slots - count(*) into room from taskwire.deliveries d where d.queue = waiting_queue and d.is_released;

    -- However much there is to look at in one queue, the others get their share of this call.
    last_step := steps + greatest(50, most * 4 / cardinality(waiting_queues));
    while room > 0 loop
      steps := steps + 1;
      has_more := has_more or steps > last_step;
      exit when steps > last_step or released >= most;

      select s.priority, (
          select other.priority from taskwire.shares other
          where other.queue = waiting_queue and other.is_ready and other.priority < s.priority
          order by other.priority desc nulls last, other.tag limit 1
        ) into level, lower_level
      from taskwire.shares s where s.queue = waiting_queue and s.is_ready order by s.priority desc nulls last, s.tag limit 1;
      exit when not found;
      many := least(room, most - released, 32);
      if lower_level is not null and current_turn % 8 < 7 then
        many := least(many, 7 - current_turn % 8);
      elsif lower_level is not null then
        select array_agg(p.priority order by p.priority) into ready_levels
        from generate_series(0, 9) p(priority)
        -- Not `exists`, for which the planner would read all shares.
        where (select true from taskwire.shares s where s.queue = waiting_queue and s.priority = p.priority and s.is_ready limit 1);
        level := ready_levels[(current_turn / 8) % cardinality(ready_levels) + 1];
        many := 1;
      end if;
      -- Each level of a queue has its own virtual time. It is kept here while the level stays the same.
      if level is distinct from timed_level then
        if timed_level is not null then
          insert into taskwire.levels (queue, priority, time) values (waiting_queue, timed_level, virtual)
          on conflict (queue, priority) do update set time = excluded.time;
        end if;
        timed_level := level;
        select coalesce(max(v.time), 0) into virtual from taskwire.levels v where v.queue = waiting_queue and v.priority = level;
      end if;

      -- Choosing many together takes as long as four steps.
      if patience = 0 and many >= 4 then
        select count(*) into found_now from (
          select from taskwire.lanes l, taskwire.deliveries d
          where l.queue = waiting_queue and l.priority = level and l.is_waiting and l.blocked_by is null
            and d.lane_id = any (array[l.id]) and not d.is_released
          limit 4
        ) ready;
        patience := case when found_now < 4 then 4 else 0 end;
      end if;
      if patience = 0 and many >= 4 then
        found_now := 0;
        for start in
          with starts as materialized (
            select * from taskwire.next_starts(waiting_queue, level, virtual, many, has_weights)
          ), heads as materialized (
            -- The deliveries of each lane that have waited longest.
            select l.id, array(
              select d.task_id from taskwire.deliveries d
              where d.lane_id = l.id and not d.is_released and d.task_id <> all (skipped)
              order by d.ready_at, d.task_id limit l.starts for update skip locked
            ) as task_ids
            from (select (s.lane).id, count(*) as starts from starts s where (s.lane).sequence_key = '' group by (s.lane).id) l
          ), counted as materialized (
            -- The limits that count each start, and whether they have room for it besides the starts before it.
            select s.place, l.name, c.subject, l.rate is not null
              or (select count(*) from taskwire.holds h where h.limit_name = l.name and h.subject = c.subject)
                + row_number() over (partition by l.name, c.subject order by s.place) > taskwire.allowed_by(l.concurrency, l.ramp_since) as may_hold
            from starts s, taskwire.limits l, lateral (select taskwire.subject_of(l.per, (s.lane).tenant, (s.lane).key) as subject) c
            where has_limits and taskwire.applies(l, s.lane)
          ), chosen as materialized (
            -- All up to the first that something may hold.
            select * from (
              select s.*, h.task_ids[s.nth + 1] as task_id, bool_or(
                h.task_ids[s.nth + 1] is null or s.place in (select c.place from counted c where c.may_hold)
                or has_pauses and exists (select from taskwire.pauses p where taskwire.is_held_by(p, s.lane))
              ) over (order by s.place) as is_over
              from starts s left join heads h on h.id = (s.lane).id
            ) s
            where not s.is_over
          ), counts as (
            insert into taskwire.holds (limit_name, subject, task_id)
            select c.name, c.subject, s.task_id from chosen s join counted c on c.place = s.place
            on conflict do nothing
          ), tenants as (
            update taskwire.shares s set tag = t.tag, key_time = t.key_time
            from (select c.tenant, max(c.tag) as tag, max(c.key_time) as key_time from chosen c group by c.tenant) t
            where s.queue = waiting_queue and s.priority = level and s.tenant = any ((select array_agg(c.tenant) from chosen c)::text[]) and s.tenant = t.tenant
          ), keys as (
            update taskwire.lanes l
            set tag = k.tag,
              -- One time for all, and then their order, by which the lanes of a key take turns.
              released_at = coalesce(
                (select clock_timestamp()) + (select max(c.place) from chosen c where (c.lane).id = l.id) * interval '1 us', l.released_at
              ),
              -- A lane that has been emptied is ready again when something arrives.
              -- Not `exists`, for which the planner would read all deliveries.
              is_waiting = case when l.id in (select (c.lane).id from chosen c) then (
                  select true from taskwire.deliveries d
                  where d.lane_id = l.id and not d.is_released and d.task_id <> all (skipped) and d.task_id not in (select c.task_id from chosen c)
                  limit 1
                ) is not null else l.is_waiting end
            from (select c.tenant, (c.lane).key, max(c.key_tag) as tag from chosen c group by c.tenant, (c.lane).key) k,
            lateral (
              select l.id from taskwire.lanes l
              where l.queue = waiting_queue and l.priority = level and l.tenant = k.tenant and l.key = k.key and l.sequence_key = '' offset 0
            ) of_key
            where l.id = any (array[of_key.id])
          ), outbox as (
            update taskwire.deliveries d
            set is_released = true, hand_overs = 1, due_at = clock_timestamp() + claim_window_ms * interval '1 ms'
            from chosen c
            where d.task_id = any (array[c.task_id])
            returning d.task_id, d.attempt
          )
          select o.task_id, o.attempt, c."time" from chosen c join outbox o on o.task_id = c.task_id order by c.place
        loop
          virtual := start."time";
          found_now := found_now + 1;
          task_id := start.task_id; attempt := start.attempt; queue := waiting_queue; skipped_by := null;
          return next;
        end loop;
        steps := steps + found_now;
        current_turn := current_turn + found_now;
        released := released + found_now;
        room := room - found_now;
        continue when found_now = many;
        patience := case when found_now = 0 then 8 else 1 end;
      end if;
      patience := greatest(0, patience - 1);

      -- The share whose turn it is, its next lane, and of that the delivery that has waited longest.
      select s.* into share from taskwire.shares s
      where s.queue = waiting_queue and s.priority = level and s.is_ready order by s.tag limit 1;
      continue when not found;
      select l as lane, d.task_id, d.attempt into head
      from (
        select * from taskwire.lanes l
        where l.queue = waiting_queue and l.priority = level and l.tenant = share.tenant and l.is_waiting and l.blocked_by is null
        order by l.tag, l.released_at nulls first limit 1
      ) l
      left join lateral (
        select d.task_id, d.attempt from taskwire.deliveries d
        where l.sequence_key = '' and d.lane_id = l.id and not d.is_released and d.task_id <> all (skipped)
        order by d.ready_at, d.task_id limit 1 for update skip locked
      ) d on true;
      if not found then
        update taskwire.shares s set is_ready = false
        where s.queue = waiting_queue and s.priority = level and s.tenant = share.tenant;
        continue;
      end if;
      lane := head.lane;

      -- Of a sequence, the first unfinished task. Of two that were created at once, the later may have been seen, and released, first.
      first_id := null;
      is_overtaken := false;
      if lane.sequence_key <> '' then
        select m.task_id into first_id from taskwire.sequence_members m
        where m.tenant = lane.tenant and m.key = lane.sequence_key order by m.position limit 1;
        is_overtaken := exists (
          select from taskwire.holds h
          where h.limit_name = '@sequence' and h.subject = taskwire.subject_of('key', lane.tenant, lane.sequence_key)
        );
        select d.task_id, d.attempt into head from taskwire.deliveries d
        where d.lane_id = lane.id and not d.is_released and d.task_id <> all (skipped) and not is_overtaken
          and (first_id is null or d.task_id = first_id)
        order by d.ready_at, d.task_id limit 1 for update skip locked;
      end if;
      if head.task_id is null then
        if not is_overtaken and exists (
          select from taskwire.deliveries d
          where d.lane_id = lane.id and not d.is_released and d.task_id <> all (skipped) and (first_id is null or d.task_id = first_id)
        ) then
          -- Being changed right now. Waiting for that could deadlock: the other may wait for what is released here.
          blocker := 'busy';
          perform taskwire.wake_at(blocker, clock_timestamp() + interval '20 ms');
        elsif first_id is not null or is_overtaken then
          blocker := 'sequence ' || lane.tenant || ' ' || lane.sequence_key;
        else
          blocker := null;
        end if;
        update taskwire.lanes l set blocked_by = blocker, is_waiting = blocker is not null where l.id = lane.id;
        perform taskwire.pass_on(lane, blocker);
        continue;
      end if;

      if has_rates then
        select coalesce(t.cost, 1) into cost from taskwire.tasks t where t.id = head.task_id;
      end if;
      blocker := null;
      if has_limits or has_pauses then
        blocker := taskwire.find_blocker(lane, cost, has_pauses, has_limits, has_rates);
      end if;
      if blocker is not null then
        update taskwire.lanes l set blocked_by = blocker where l.id = lane.id;
        perform taskwire.pass_on(lane, blocker);
        continue;
      end if;

      -- A rate that skips what is over it: the statement around this cancels the task.
      if has_rates then
        select l.name into over_name from taskwire.limits l
        where l.rate is not null and l.when_over = 'skip' and taskwire.applies(l, lane)
          and taskwire.rate_allows_at(l, taskwire.subject_of(l.per, lane.tenant, lane.key), cost) > clock_timestamp()
        order by l.name limit 1;
        if found then
          skipped := skipped || head.task_id;
          if lane.sequence_key <> '' then
            update taskwire.lanes l set blocked_by = 'sequence ' || lane.tenant || ' ' || lane.sequence_key where l.id = lane.id;
            -- Its end wakes the lane, unless the task is being changed right now, and is skipped at the next release.
            perform taskwire.wake_at('sequence ' || lane.tenant || ' ' || lane.sequence_key, clock_timestamp() + interval '1 s');
          end if;
          released := released + 1;
          task_id := head.task_id; attempt := head.attempt; queue := waiting_queue; skipped_by := over_name;
          return next;
          continue;
        end if;
      end if;

      update taskwire.deliveries d
      set is_released = true, hand_overs = 1, due_at = clock_timestamp() + claim_window_ms * interval '1 ms'
      where d.task_id = head.task_id;
      if has_limits then
        insert into taskwire.holds (limit_name, subject, task_id)
        select l.name, taskwire.subject_of(l.per, lane.tenant, lane.key), head.task_id
        from taskwire.limits l
        where (l.concurrency is not null or l.ramp_since is not null) and taskwire.applies(l, lane)
        on conflict do nothing;
      end if;
      if lane.sequence_key <> '' then
        insert into taskwire.holds (limit_name, subject, task_id)
        values ('@sequence', taskwire.subject_of('key', lane.tenant, lane.sequence_key), head.task_id)
        on conflict do nothing;
      end if;
      if has_rates then
        perform taskwire.take_rates(lane, cost);
      end if;

      virtual := greatest(share.tag, virtual);
      key_virtual := greatest(lane.tag, share.key_time);
      if has_weights then
        select 1 / coalesce(max(w.weight) filter (where w.kind = 'tenant'), 1), 1 / coalesce(max(w.weight) filter (where w.kind = 'key'), 1)
        into tenant_step, key_step
        from taskwire.weights w
        where w.tenant = lane.tenant and (w.kind, w.key) in (('tenant', ''), ('key', lane.key));
      end if;
      update taskwire.shares s set tag = virtual + tenant_step, key_time = key_virtual
      where s.queue = waiting_queue and s.priority = level and s.tenant = share.tenant;
      update taskwire.lanes l
      set tag = key_virtual + key_step,
        released_at = case when l.id = lane.id then clock_timestamp() else l.released_at end,
        is_waiting = case when l.id = lane.id then exists (
            select from taskwire.deliveries d where d.lane_id = lane.id and not d.is_released and d.task_id <> all (skipped)
          ) else l.is_waiting end
      where l.queue = waiting_queue and l.priority = level and l.tenant = lane.tenant and l.key = lane.key and l.sequence_key = lane.sequence_key;

      current_turn := current_turn + 1;
      released := released + 1;
      room := room - 1;
      task_id := head.task_id; attempt := head.attempt; queue := waiting_queue; skipped_by := null;
      return next;
    end loop;
    has_filled := has_filled or slots > 0 and room <= 0;
    if current_turn <> first_turn then
      insert into taskwire.levels (queue, priority, time) values (waiting_queue, timed_level, virtual)
      on conflict (queue, priority) do update set time = excluded.time;
    end if;
    timed_level := null;
    if current_turn <> first_turn then
      insert into taskwire.release_turns (queue, turn) values (waiting_queue, current_turn)
      on conflict (queue) do update set turn = excluded.turn;
    end if;
    exit when released >= most;
  end loop;
  if steps > 0 then
    update taskwire.release_turns t set turn = t.turn + 1 where t.queue = '';
  end if;
  if has_more then
    -- Many lanes were blocked, and few deliveries released.
    wake_in_ms := 0;
  else
    select extract(epoch from min(w.at) - clock_timestamp()) * 1000 into wake_in_ms from taskwire.wakes w;
  end if;
  -- For want of room in the window of a queue, some may not have been released.
  is_full := has_filled;
  task_id := null; attempt := null; queue := null; skipped_by := null;
  return next;
end $$;
--> statement-breakpoint
-- When a limit with a rate allows the next start (generic cell rate algorithm, as a virtual scheduling algorithm: ITU-T I.371, annex A).
create or replace function taskwire.rate_allows_at(rated taskwire.limits, counted text, cost integer) returns timestamptz language sql stable as $$
  select greatest(max(r.next_at), clock_timestamp())
    + (least(cost, rated.burst) - rated.burst) * rated.period_ms / rated.rate * interval '1 ms'
  from taskwire.rates r where r.limit_name = rated.name and r.subject = counted
$$;
--> statement-breakpoint
-- How many starts of cost 1 a rate allows now.
create or replace function taskwire.rate_room(rated taskwire.limits, counted text) returns integer language sql stable as $$
  select greatest(0, floor(rated.burst - greatest(0, extract(epoch from coalesce(max(r.next_at), clock_timestamp()) - clock_timestamp())) * 1000 * rated.rate / rated.period_ms))::integer
  from taskwire.rates r where r.limit_name = rated.name and r.subject = counted
$$;
--> statement-breakpoint
-- Charges a start's cost to every rate that applies to it, and has the next lane checked when the rate allows it. A cost above the burst
-- is charged in full: such a start begins when the burst is free, and the next one waits for longer.
create or replace function taskwire.take_rates(lane taskwire.lanes, cost integer) returns void language plpgsql as $$
declare
  rated taskwire.limits;
  counted text;
begin
  for rated in
    select l.* from taskwire.limits l
    where l.rate is not null and taskwire.applies(l, lane)
  loop
    counted := taskwire.subject_of(rated.per, lane.tenant, lane.key);
    insert into taskwire.rates as r (limit_name, subject, next_at)
    values (rated.name, counted, clock_timestamp() + cost * rated.period_ms / rated.rate * interval '1 ms')
    on conflict (limit_name, subject) do update
    set next_at = greatest(r.next_at, clock_timestamp()) + cost * rated.period_ms / rated.rate * interval '1 ms';
    perform taskwire.wake_at_rate(rated, counted);
  end loop;
end $$;
--> statement-breakpoint
create or replace function taskwire.wake_at_rate(rated taskwire.limits, counted text) returns void language sql as $$
  insert into taskwire.wakes (blocked_by, at)
  select b.blocker, taskwire.rate_allows_at(rated, counted, 1)
  from (select 'limit ' || rated.name || ' ' || counted as blocker) b
  where exists (select from taskwire.lanes l where l.blocked_by = b.blocker)
    and not exists (select from taskwire.wakes w where w.blocked_by = b.blocker and w.at > clock_timestamp())
$$;
--> statement-breakpoint
-- Schedules a check of the lanes that this blocks, unless one is due by then. Null: none.
create or replace function taskwire.wake_at(blocker text, at timestamptz) returns void language sql as $$
  insert into taskwire.wakes (blocked_by, at)
  select wake_at.blocker, wake_at.at
  where wake_at.at is not null and not exists (select from taskwire.wakes w where w.blocked_by = wake_at.blocker and w.at <= wake_at.at)
$$;
--> statement-breakpoint
-- What holds the next task of a lane, or null.
create or replace function taskwire.find_blocker(lane taskwire.lanes, cost integer, has_pauses boolean, has_limits boolean, has_rates boolean)
returns text language plpgsql as $$
declare
  blocker text;
  ends_at timestamptz;
  rated taskwire.limits;
  counted text;
begin
  if has_pauses then
    select 'pause ' || p.kind || ' ' || p.tenant || ' ' || p.name, p.until into blocker, ends_at
    from taskwire.pauses p
    where taskwire.is_held_by(p, lane)
    order by p.until desc nulls first, p.kind limit 1;
    if blocker is not null then
      perform taskwire.wake_at(blocker, ends_at);
      return blocker;
    end if;
  end if;
  if not has_limits then
    return null;
  end if;
  select 'limit ' || l.name || ' ' || s.counted,
    l.ramp_since + (floor(extract(epoch from clock_timestamp() - l.ramp_since)) + 1) * interval '1 s' into blocker, ends_at
  from taskwire.limits l, lateral (select taskwire.subject_of(l.per, lane.tenant, lane.key) as counted) s
  where (l.concurrency is not null or l.ramp_since is not null) and taskwire.applies(l, lane)
    and (select count(*) from taskwire.holds h where h.limit_name = l.name and h.subject = s.counted) >= taskwire.allowed_by(l.concurrency, l.ramp_since)
  order by l.name limit 1;
  if blocker is not null then
    perform taskwire.wake_at(blocker, ends_at);
    return blocker;
  end if;
  if not has_rates then
    return null;
  end if;
  for rated in
    select l.* from taskwire.limits l
    where l.rate is not null and l.when_over = 'delay' and taskwire.applies(l, lane)
    order by l.name
  loop
    counted := taskwire.subject_of(rated.per, lane.tenant, lane.key);
    if taskwire.rate_allows_at(rated, counted, cost) > clock_timestamp() then
      blocker := 'limit ' || rated.name || ' ' || counted;
      perform taskwire.wake_at(blocker, taskwire.rate_allows_at(rated, counted, cost));
      return blocker;
    end if;
  end loop;
  return null;
end $$;
--> statement-breakpoint
-- A lane was made ready for the room in a limit and does not use it: the next lane that waits for the same room gets its turn.
create or replace function taskwire.pass_on(lane taskwire.lanes, except_blocker text) returns void language plpgsql as $$
declare
  blocker text;
begin
  for blocker in
    select b.blocker
    from taskwire.limits l, lateral (select 'limit ' || l.name || ' ' || taskwire.subject_of(l.per, lane.tenant, lane.key) as blocker) b
    where taskwire.applies(l, lane)
      and b.blocker is distinct from except_blocker and exists (select from taskwire.lanes other where other.blocked_by = b.blocker)
  loop
    perform taskwire.unblock_lanes(blocker);
  end loop;
end $$;
--> statement-breakpoint
-- What lanes are blocked by that wait for the room of a hold.
create or replace function taskwire.blocker_of(limit_name text, subject text) returns text language sql immutable parallel safe as $$
  select case when limit_name = '@sequence' then 'sequence ' || (subject::json->>0) || ' ' || (subject::json->>1)
    else 'limit ' || limit_name || ' ' || subject end
$$;
--> statement-breakpoint
-- Attempts have ended: limits no longer count them, and the lanes that wait for the room are checked. Once per statement, because workers
-- settle many attempts by one.
create or replace function taskwire.drop_holds_of_leases() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from ended e where e.has_holds) then
    return null;
  end if;
  with dropped as (
    delete from taskwire.holds h
    using ended e
    where e.has_holds and h.task_id = any (array[e.task_id])
      and not exists (select from taskwire.leases l where l.task_id = any (array[h.task_id]))
      and not exists (select from taskwire.deliveries d where d.task_id = any (array[h.task_id]) and d.is_released)
    returning h.limit_name, h.subject
  )
  insert into taskwire.wakes (blocked_by) select distinct taskwire.blocker_of(d.limit_name, d.subject) from dropped d;
  return null;
end $$;
--> statement-breakpoint
-- The same for a delivery that will not be claimed as it was released.
create or replace function taskwire.drop_holds() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  has_holds boolean;
begin
  -- The attempt goes on: a claim turns the delivery into a lease.
  if tg_op = 'DELETE' then
    select l.has_holds into has_holds from taskwire.leases l where l.task_id = old.task_id;
    if found then
      -- Claimed while nothing held it any more: the end of the attempt drops what it was released with. Only a claim may need the lock
      -- of the table that an update takes.
      if not has_holds then
        update taskwire.leases l set has_holds = true where l.task_id = old.task_id;
      end if;
      return null;
    end if;
  end if;
  with dropped as (
    delete from taskwire.holds h
    where h.task_id = old.task_id
      and not exists (select from taskwire.leases l where l.task_id = old.task_id)
      and not exists (select from taskwire.deliveries d where d.task_id = old.task_id and d.is_released)
    returning h.limit_name, h.subject
  )
  insert into taskwire.wakes (blocked_by) select taskwire.blocker_of(d.limit_name, d.subject) from dropped d;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger leases_drop_holds after delete on taskwire.leases referencing old table as ended for each statement
execute function taskwire.drop_holds_of_leases();
--> statement-breakpoint
create or replace trigger deliveries_drop_holds after delete on taskwire.deliveries for each row when (old.is_released) execute function taskwire.drop_holds();
--> statement-breakpoint
create or replace trigger deliveries_return_holds after update of is_released on taskwire.deliveries for each row
when (old.is_released and not new.is_released) execute function taskwire.drop_holds();
--> statement-breakpoint
-- The end of a task with a sequence key: the next one may start. A task that has failed, or was not started in time, may halt its
-- sequence; then it stays first.
create or replace function taskwire.end_in_sequence() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update taskwire.sequence_members m set halted_at = now()
  where m.task_id = new.id and m.halts and new.status in ('FAILED', 'EXPIRED');
  delete from taskwire.sequence_members m where m.task_id = new.id and m.halted_at is null;
  insert into taskwire.wakes (blocked_by) values ('sequence ' || new.tenant || ' ' || new.sequence_key);
  return null;
end $$;
--> statement-breakpoint
create or replace trigger tasks_end_in_sequence after update of status on taskwire.tasks for each row when (
  new.sequence_key is not null and new.status in ('COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED')
) execute function taskwire.end_in_sequence();
--> statement-breakpoint
-- A task that is deleted halts no sequence.
create or replace function taskwire.leave_sequence() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  delete from taskwire.sequence_members m where m.task_id = old.id;
  insert into taskwire.wakes (blocked_by) values ('sequence ' || old.tenant || ' ' || old.sequence_key);
  return null;
end $$;
--> statement-breakpoint
create or replace trigger tasks_leave_sequence after delete on taskwire.tasks for each row when (old.sequence_key is not null)
execute function taskwire.leave_sequence();
--> statement-breakpoint
-- A lane's id, from what its deliveries have in common.
create or replace function taskwire.lane_id(queue text, tenant text, type text, priority smallint, key text, sequence_key text) returns bigint
language sql stable parallel safe as $$
  select hashtextextended(json_build_array(queue, tenant, type, priority, key, sequence_key)::text, 0)
$$;
--> statement-breakpoint
-- The net under the release: wakes lanes that nothing else would wake, and forgets lanes, shares and tenants of the past. Returns how
-- many holds and lanes nothing would have ended; that is 0 unless rows were changed by hand or restored.
create or replace function taskwire.repair_release() returns integer language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  repaired integer := 0;
  found_now integer;
begin
  perform from taskwire.release_turns t where t.queue = '' for update;
  with orphaned as (
    delete from taskwire.holds h
    where not exists (select from taskwire.leases l where l.task_id = h.task_id)
      and not exists (select from taskwire.deliveries d where d.task_id = h.task_id and d.is_released)
    returning h.limit_name, h.subject
  ), woken as (
    insert into taskwire.wakes (blocked_by) select distinct taskwire.blocker_of(o.limit_name, o.subject) from orphaned o
  )
  select count(*) into found_now from orphaned;
  repaired := repaired + found_now;
  -- Lanes blocked by something that no longer holds them.
  with blockers as (
    select distinct l.blocked_by, split_part(l.blocked_by, ' ', 1) as kind, split_part(l.blocked_by, ' ', 2) as name
    from taskwire.lanes l
    where l.blocked_by is not null and not exists (select from taskwire.wakes w where w.blocked_by = l.blocked_by)
  ), stale as (
    select b.blocked_by from blockers b
    left join taskwire.limits l on b.kind = 'limit' and l.name = b.name
    where case
      when b.kind = 'limit' then l.name is null or case
        when l.rate is not null then true
        else (select count(*) from taskwire.holds h where h.limit_name = l.name and h.subject = substr(b.blocked_by, length(l.name) + 8))
          < taskwire.allowed_by(l.concurrency, l.ramp_since)
      end
      when b.kind = 'pause' then not exists (
        select from taskwire.pauses p
        where 'pause ' || p.kind || ' ' || p.tenant || ' ' || p.name = b.blocked_by and (p.until is null or p.until > clock_timestamp())
      )
      else not exists (
        select from taskwire.sequence_members m where 'sequence ' || m.tenant || ' ' || m.key = b.blocked_by
      ) or exists (
        select from taskwire.lanes l
        join lateral (
          select m.task_id from taskwire.sequence_members m where m.tenant = l.tenant and m.key = l.sequence_key order by m.position limit 1
        ) first on true
        join taskwire.deliveries d on d.task_id = first.task_id and d.lane_id = l.id and not d.is_released
        where l.blocked_by = b.blocked_by
      )
    end
  )
  insert into taskwire.wakes (blocked_by) select s.blocked_by from stale s;
  get diagnostics found_now = row_count;
  repaired := repaired + found_now;
  -- Deliveries in lanes that the release does not know of.
  with recursive ids as (
    (select d.lane_id from taskwire.deliveries d where d.lane_id is not null and not d.is_released order by d.lane_id limit 1)
    union all
    select (
      select d.lane_id from taskwire.deliveries d
      where d.lane_id is not null and not d.is_released and d.lane_id > ids.lane_id order by d.lane_id limit 1
    )
    from ids where ids.lane_id is not null
  ), unknown as (
    update taskwire.deliveries d set lane_id = null, due_at = now()
    from ids
    where d.lane_id = ids.lane_id and not d.is_released
      and not exists (select from taskwire.lanes l where l.id = ids.lane_id and l.is_waiting)
      and not exists (select from taskwire.arrivals a where a.lane_id = ids.lane_id)
    returning 1
  )
  select count(*) into found_now from unknown;
  repaired := repaired + found_now;

  delete from taskwire.lanes l
  where not l.is_waiting and l.blocked_by is null and coalesce(l.released_at, '-infinity') < now() - interval '1 minute'
    and not exists (select from taskwire.arrivals a where a.lane_id = l.id);
  delete from taskwire.shares s
  where not exists (select from taskwire.lanes l where l.queue = s.queue and l.priority = s.priority and l.tenant = s.tenant);
  delete from taskwire.queue_tenants q
  where q.seen_at < now() - interval '10 minutes'
    and not exists (select from taskwire.lanes l where l.queue = q.queue and l.tenant = q.tenant and l.is_waiting)
    and exists (select from taskwire.queue_tenants other where other.queue = q.queue and other.tenant <> q.tenant);
  return repaired;
end $$;
