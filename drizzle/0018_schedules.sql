CREATE TABLE "taskwire"."schedule_slots" (
	"tenant" text DEFAULT 'default' NOT NULL,
	"schedule" text NOT NULL,
	"slot" timestamp (3) with time zone NOT NULL,
	"origin" text NOT NULL,
	"outcome" text NOT NULL,
	"made_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"task_id" uuid,
	"ended" "taskwire"."task_status",
	CONSTRAINT "schedule_slots_tenant_schedule_slot_pk" PRIMARY KEY("tenant","schedule","slot")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."schedules" (
	"tenant" text DEFAULT 'default' NOT NULL,
	"name" text NOT NULL,
	"spec" jsonb NOT NULL,
	"code" jsonb,
	"template" jsonb NOT NULL,
	"next_slot" timestamp (3) with time zone,
	"paused_by" text,
	"paused_at" timestamp (3) with time zone,
	"pause_reason" text,
	"resumed_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"set_by" text NOT NULL,
	"set_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"reason" text,
	CONSTRAINT "schedules_tenant_name_pk" PRIMARY KEY("tenant","name")
);
--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "schedule" jsonb;--> statement-breakpoint
CREATE INDEX "schedule_slots_open_idx" ON "taskwire"."schedule_slots" USING btree ("tenant","schedule") WHERE "taskwire"."schedule_slots"."task_id" is not null and "taskwire"."schedule_slots"."ended" is null;--> statement-breakpoint
CREATE INDEX "schedule_slots_task_idx" ON "taskwire"."schedule_slots" USING btree ("task_id") WHERE "taskwire"."schedule_slots"."task_id" is not null and "taskwire"."schedule_slots"."ended" is null;--> statement-breakpoint
CREATE INDEX "schedule_slots_filled_idx" ON "taskwire"."schedule_slots" USING btree ("tenant","schedule","slot") WHERE "taskwire"."schedule_slots"."task_id" is not null;--> statement-breakpoint
CREATE INDEX "schedule_slots_old_filled_idx" ON "taskwire"."schedule_slots" USING btree ("made_at") WHERE "taskwire"."schedule_slots"."task_id" is not null;--> statement-breakpoint
CREATE INDEX "schedule_slots_old_empty_idx" ON "taskwire"."schedule_slots" USING btree ("made_at") WHERE "taskwire"."schedule_slots"."task_id" is null;--> statement-breakpoint
CREATE INDEX "schedules_due_idx" ON "taskwire"."schedules" USING btree ("next_slot") WHERE "taskwire"."schedules"."next_slot" is not null;--> statement-breakpoint
-- The task of a slot has ended, by whatever statement.
create or replace function taskwire.end_slot() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update taskwire.schedule_slots h set ended = new.status where h.task_id = new.id and h.ended is null;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger tasks_end_slot after update of status on taskwire.tasks for each row when (
  new.schedule is not null and new.status in ('COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED')
) execute function taskwire.end_slot();
--> statement-breakpoint
-- A task that is deleted holds no later slot back.
create or replace function taskwire.leave_slot() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update taskwire.schedule_slots h set ended = 'CANCELLED' where h.task_id = old.id and h.ended is null;
  return null;
end $$;
--> statement-breakpoint
create or replace trigger tasks_leave_slot after delete on taskwire.tasks for each row when (old.schedule is not null)
execute function taskwire.leave_slot();
