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
