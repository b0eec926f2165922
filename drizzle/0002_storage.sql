-- Storage settings that drizzle cannot express.

-- Every row of these two is deleted soon after it was written: clean up by count of rows, not by share of the table.
alter table taskwire.deliveries set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
--> statement-breakpoint
alter table taskwire.leases set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
--> statement-breakpoint
-- A task is updated a handful of times and then never again: leave room on its page for the versions in between.
alter table taskwire.tasks set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
