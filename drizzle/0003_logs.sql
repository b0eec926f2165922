CREATE TABLE "taskwire"."logs" (
	"task_id" uuid NOT NULL,
	"seq" bigint GENERATED ALWAYS AS IDENTITY (sequence name "taskwire"."logs_seq_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"attempt" integer NOT NULL,
	"tenant" text DEFAULT 'default' NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"level" text NOT NULL,
	"text" text NOT NULL,
	CONSTRAINT "logs_task_id_seq_pk" PRIMARY KEY("task_id","seq")
);
