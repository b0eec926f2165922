CREATE TABLE "taskwire"."quarantined_types" (
	"type" text PRIMARY KEY NOT NULL,
	"reason" text NOT NULL,
	"since" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"until" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "taskwire"."workers" (
	"id" text PRIMARY KEY NOT NULL,
	"host" text NOT NULL,
	"pid" integer NOT NULL,
	"version" text NOT NULL,
	"types" text[] NOT NULL,
	"queues" jsonb NOT NULL,
	"is_stopping" boolean DEFAULT false NOT NULL,
	"started_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"seen_at" timestamp (3) with time zone DEFAULT now() NOT NULL,
	"lease_until" timestamp (3) with time zone NOT NULL,
	"is_draining" boolean DEFAULT false NOT NULL,
	"drained_at" timestamp (3) with time zone,
	"drained_by" text,
	"drain_reason" text
);
