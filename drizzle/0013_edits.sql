-- An edit is an event like a transition: a row of history with the next version, in the same status, that names the fields it changed. A
-- process of an earlier version reads it as a transition to the same status.
ALTER TABLE "taskwire"."transitions" ADD COLUMN "edited" text[];
--> statement-breakpoint
-- The guard as before, and an edit is allowed where a task waits: made by src/db/guard.ts (a test compares them).
create or replace function taskwire.refuse_transition() returns trigger language plpgsql as $$
begin
  raise exception 'task %: a change from % (version %) to % (version %) is not allowed',
    old.id, old.status, old.version, new.status, new.version using errcode = 'check_violation';
end $$;
--> statement-breakpoint
create or replace trigger tasks_guard_transition before update of status, version on taskwire.tasks for each row when (
  (old.status is distinct from new.status or old.version is distinct from new.version) and not (
    new.version = old.version + 1 and (
      (old.status = 'SCHEDULED' and new.status in ('PENDING', 'CANCELLED', 'EXPIRED'))
      or (old.status = 'WAITING' and new.status in ('SCHEDULED', 'PENDING', 'FAILED', 'CANCELLED', 'EXPIRED'))
      or (old.status = 'PENDING' and new.status in ('PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'))
      or (old.status = 'PROCESSING' and new.status in ('COMPLETED', 'FAILED', 'RETRYING', 'CANCELLING', 'CANCELLED', 'PENDING'))
      or (old.status = 'RETRYING' and new.status in ('PROCESSING', 'FAILED', 'CANCELLED', 'EXPIRED'))
      or (old.status = 'CANCELLING' and new.status in ('CANCELLED', 'COMPLETED', 'FAILED'))
      or (old.status = new.status and old.status in ('SCHEDULED', 'WAITING', 'PENDING', 'RETRYING'))
    )
  )
) execute function taskwire.refuse_transition();
