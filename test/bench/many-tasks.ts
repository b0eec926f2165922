/** Fills the tables as if a very large number of tasks had run, and a few were still waiting. */
import postgres from 'postgres'

/** Rows per statement. */
const PORTION = 100_000

export interface ManyTasks {
  count: number
  /** One task in so many has the type `rare`, one the tag `rare`, and one is FAILED; all others are COMPLETED. */
  rareEvery: number
  /** The number of newest tasks that have not started. */
  waiting: number
}

/**
 * Ids are UUIDv7 of the creation times, which are spread over the last day. The transitions before the final one are
 * left out; the final one is written because lists find tasks by it.
 */
export async function fillTasks(databaseUrl: string, { count, rareEvery, waiting }: ManyTasks): Promise<void> {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  await sql`set synchronous_commit = off`
  for (let from = 0; from < count; from += PORTION) {
    const to = Math.min(from + PORTION, count)
    await sql`
with made as (
  select n, now() - (${count}::integer - n) * interval '1 day' / ${count}::integer as at,
    n >= ${count - waiting}::integer as waits, n % ${rareEvery}::integer = 1 as failed, md5(n::text) as noise
  from generate_series(${from}::integer, ${to - 1}::integer) n
), stored as (
  insert into taskwire.tasks (id, type, title, status, version, attempt, tags, payload, created_at, finished_at)
  select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(noise, 1, 3) || '8' || substr(noise, 4, 15))::uuid,
    case when n % ${rareEvery}::integer = 2 then 'rare' else 'demo.sleep' end,
    case when n % 100000 = 3 then 'a needle' else 'an example ' || n end,
    (case when waits then 'PENDING' when failed then 'FAILED' else 'COMPLETED' end)::taskwire.task_status,
    case when waits then 1 else 3 end, case when waits then 0 else 1 end,
    case when n % ${rareEvery}::integer = 4 then '{rare}'::text[] when n % 10 = 0 then '{often}'::text[] else '{}'::text[] end,
    '{"steps": 5, "stepMs": 300}', at, case when waits then null else at end
  from made
  returning id, status, version, attempt, created_at
), ended as (
  insert into taskwire.transitions (task_id, version, from_status, status, attempt, at)
  select id, version, case when version = 3 then 'PROCESSING'::taskwire.task_status end, status, attempt, created_at from stored
)
insert into taskwire.deliveries (task_id, attempt, due_at)
select id, 1, now() + interval '1 day' from stored where status = 'PENDING'`
  }
  await sql`vacuum (analyze) taskwire.tasks, taskwire.transitions, taskwire.deliveries, taskwire.task_tags`
  await sql.end()
}
