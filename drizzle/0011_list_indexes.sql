-- online: on a database that is in use these statements run before, one by one, so that nobody who writes waits for them (see
-- src/db/prepare-online.ts). What is there already is left as it is.
--
-- Indexes that lists walk, newest first. None covers a column that changes with the status.
CREATE TABLE IF NOT EXISTS "taskwire"."task_tags" (
	"tenant" text DEFAULT 'default' NOT NULL,
	"tag" text NOT NULL,
	"task_id" uuid NOT NULL,
	CONSTRAINT "task_tags_tenant_tag_task_id_pk" PRIMARY KEY("tenant","tag","task_id")
);
--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "tasks_type_idx" ON "taskwire"."tasks" USING btree ("type","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "tasks_created_idx" ON "taskwire"."tasks" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "tasks_queue_idx" ON "taskwire"."tasks" USING btree ("queue","id") WHERE "taskwire"."tasks"."queue" <> 'default';--> statement-breakpoint
-- They keep the index of tags. One call for all rows of an insert: half the cost of one for each.
create or replace function taskwire.index_new_tags() returns trigger language plpgsql as $$
begin
  insert into taskwire.task_tags (tenant, tag, task_id)
  select t.tenant, tag, t.id from new_tasks t, unnest(t.tags) tag where t.tags <> '{}' and tag is not null on conflict do nothing;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger tasks_index_new_tags after insert on taskwire.tasks referencing new table as new_tasks
for each statement execute function taskwire.index_new_tags();
--> statement-breakpoint
create or replace function taskwire.index_other_tags() returns trigger language plpgsql as $$
begin
  delete from taskwire.task_tags g where g.tenant = old.tenant and g.tag = any(old.tags) and g.task_id = old.id;
  if tg_op = 'UPDATE' then
    insert into taskwire.task_tags (tenant, tag, task_id)
    select new.tenant, tag, new.id from unnest(new.tags) tag where tag is not null on conflict do nothing;
  end if;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger tasks_index_edited_tags after update of tags on taskwire.tasks for each row when (old.tags is distinct from new.tags)
execute function taskwire.index_other_tags();
--> statement-breakpoint
create or replace trigger tasks_unindex_tags after delete on taskwire.tasks for each row when (old.tags <> '{}') execute function taskwire.index_other_tags();
--> statement-breakpoint
-- The tasks that there are. Those that come meanwhile are kept by the triggers, and a row too much does no harm: who walks it looks at the task.
do $$ begin
  if obj_description('taskwire.task_tags'::regclass, 'pg_class') is distinct from 'complete' then
    insert into taskwire.task_tags (tenant, tag, task_id)
    select t.tenant, tag, t.id from taskwire.tasks t, unnest(t.tags) tag where tag is not null on conflict do nothing;
    comment on table taskwire.task_tags is 'complete';
  end if;
end $$;
