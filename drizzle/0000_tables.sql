CREATE SCHEMA IF NOT EXISTS "taskwire";
--> statement-breakpoint
CREATE TYPE "taskwire"."task_status" AS ENUM('SCHEDULED', 'WAITING', 'PENDING', 'PROCESSING', 'RETRYING', 'CANCELLING', 'COMPLETED', 'FAILED', 'CANCELLED', 'EXPIRED');--> statement-breakpoint
CREATE TABLE "taskwire"."attempts" (
	"task_id" uuid NOT NULL,
	"attempt" integer NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"worker" text NOT NULL,
	"started_at" timestamp (3) with time zone NOT NULL,
	"finished_at" timestamp (3) with time zone NOT NULL,
	"outcome" text NOT NULL,
	"error" jsonb,
	CONSTRAINT "attempts_task_id_attempt_pk" PRIMARY KEY("task_id","attempt")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."deliveries" (
	"task_id" uuid PRIMARY KEY NOT NULL,
	"attempt" integer NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"priority" smallint DEFAULT 0 NOT NULL,
	"due_at" timestamp (3) with time zone NOT NULL,
	"hand_overs" smallint DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "taskwire"."leases" (
	"task_id" uuid PRIMARY KEY NOT NULL,
	"attempt" integer NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"worker" text NOT NULL,
	"started_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"lease_until" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "taskwire"."tasks" (
	"id" uuid PRIMARY KEY NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"type" text NOT NULL,
	"title" text NOT NULL,
	"queue" text DEFAULT 'default' NOT NULL,
	"priority" smallint DEFAULT 0 NOT NULL,
	"tags" text[] DEFAULT '{}' NOT NULL,
	"status" "taskwire"."task_status" NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	"attempt" integer DEFAULT 0 NOT NULL,
	"max_attempts" integer DEFAULT 1 NOT NULL,
	"payload" jsonb NOT NULL,
	"progress" jsonb,
	"result" jsonb,
	"failure" jsonb,
	"run_at" timestamp (3) with time zone,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"started_at" timestamp (3) with time zone,
	"finished_at" timestamp (3) with time zone
);
--> statement-breakpoint
CREATE TABLE "taskwire"."transitions" (
	"task_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"from_status" "taskwire"."task_status",
	"status" "taskwire"."task_status" NOT NULL,
	"attempt" integer NOT NULL,
	"at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"reason" text,
	CONSTRAINT "transitions_task_id_version_pk" PRIMARY KEY("task_id","version")
);
--> statement-breakpoint
CREATE INDEX "deliveries_due_idx" ON "taskwire"."deliveries" USING btree ("due_at");--> statement-breakpoint
CREATE INDEX "transitions_unhappy_end_idx" ON "taskwire"."transitions" USING btree ("tenant","status","task_id") WHERE "taskwire"."transitions"."status" in ('FAILED', 'CANCELLED', 'EXPIRED');