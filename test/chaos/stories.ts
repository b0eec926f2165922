/** The stored history of the task that a violation names: without it the cause cannot be found after the run. */
import type { Database } from '../../src/db/database.js'

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/

/** Adds the transitions and attempts of the named task to each violation. */
export function addStories(db: Database, violations: readonly string[]): Promise<string[]> {
  return Promise.all(
    violations.map(async (violation) => {
      const id = UUID.exec(violation)?.[0]
      return id === undefined ? violation : [violation, ...(await readStory(db, id))].join('\n    ')
    }),
  )
}

async function readStory(db: Database, id: string): Promise<string[]> {
  const text = `
    select line from (
      select at, to_char(at, 'HH24:MI:SS.MS') || ' version ' || version || ' ' || status || ', attempt ' || attempt || coalesce(', ' || reason, '') as line
      from taskwire.transitions where task_id = $1::text::uuid
      union all
      select finished_at, to_char(finished_at, 'HH24:MI:SS.MS') || ' attempt ' || attempt || ' ' || outcome || ' by ' || worker || ', begun ' || to_char(started_at, 'HH24:MI:SS.MS') || coalesce(', ' || error::text, '')
      from taskwire.attempts where task_id = $1::text::uuid
      union all
      select started_at, 'lease: ' || row_to_json(leases) from taskwire.leases where task_id = $1::text::uuid
      union all
      select due_at, 'delivery: ' || row_to_json(deliveries) from taskwire.deliveries where task_id = $1::text::uuid
    ) stories order by at`
  return (await db.run<{ line: string }>({ name: 'chaos_story', text }, [id])).map(({ line }) => line)
}
