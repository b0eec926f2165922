CREATE TABLE "taskwire"."effects" (
	"task_id" uuid NOT NULL,
	"key" text NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"attempt" integer NOT NULL,
	"at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"value" jsonb,
	CONSTRAINT "effects_task_id_key_pk" PRIMARY KEY("task_id","key")
);
--> statement-breakpoint
CREATE TABLE "taskwire"."idempotency_keys" (
	"tenant" text DEFAULT 'default' NOT NULL,
	"key" text NOT NULL,
	"fingerprint" text NOT NULL,
	"task_id" uuid NOT NULL,
	"run_at" timestamp (3) with time zone,
	"expires_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "idempotency_keys_tenant_key_pk" PRIMARY KEY("tenant","key")
);
--> statement-breakpoint
CREATE INDEX "idempotency_keys_expires_idx" ON "taskwire"."idempotency_keys" USING btree ("expires_at");