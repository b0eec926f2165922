CREATE TABLE "taskwire"."artifacts" (
	"task_id" uuid NOT NULL,
	"name" text NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"attempt" integer NOT NULL,
	"media_type" text NOT NULL,
	"bytes" bigint NOT NULL,
	"sha256" text NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"expires_at" timestamp (3) with time zone,
	CONSTRAINT "artifacts_task_id_name_pk" PRIMARY KEY("task_id","name")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."secrets" (
	"name" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "taskwire"."unique_keys" (
	"tenant" text DEFAULT 'default' NOT NULL,
	"type" text NOT NULL,
	"key" text NOT NULL,
	"task_id" uuid NOT NULL,
	CONSTRAINT "unique_keys_tenant_type_key_pk" PRIMARY KEY("tenant","type","key")
);
--> statement-breakpoint
DROP INDEX "taskwire"."deliveries_due_idx";--> statement-breakpoint
ALTER TABLE "taskwire"."deliveries" ADD COLUMN "queue" text DEFAULT 'default' NOT NULL;--> statement-breakpoint
ALTER TABLE "taskwire"."deliveries" ADD COLUMN "expires_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "failures" smallint DEFAULT 0 NOT NULL;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "expires_at" timestamp (3) with time zone;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "unique_key" text;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "parent_id" uuid;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "batch_id" uuid;--> statement-breakpoint
ALTER TABLE "taskwire"."tasks" ADD COLUMN "callback_url" text;--> statement-breakpoint
CREATE INDEX "artifacts_expires_idx" ON "taskwire"."artifacts" USING btree ("expires_at") WHERE "taskwire"."artifacts"."expires_at" is not null;--> statement-breakpoint
CREATE INDEX "deliveries_expires_idx" ON "taskwire"."deliveries" USING btree ("expires_at") WHERE "taskwire"."deliveries"."expires_at" is not null;--> statement-breakpoint
CREATE INDEX "tasks_parent_idx" ON "taskwire"."tasks" USING btree ("parent_id","id") WHERE "taskwire"."tasks"."parent_id" is not null;--> statement-breakpoint
CREATE INDEX "tasks_batch_idx" ON "taskwire"."tasks" USING btree ("batch_id","id") WHERE "taskwire"."tasks"."batch_id" is not null;--> statement-breakpoint
CREATE INDEX "deliveries_due_idx" ON "taskwire"."deliveries" USING btree ("queue","due_at");