CREATE TABLE "taskwire"."epochs" (
	"broker" text PRIMARY KEY NOT NULL,
	"epoch" text NOT NULL,
	"seen_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
