/** The stored history of the task that a violation names: without it the cause cannot be found after the run. */
import type { Database } from '../../src/db/database.js'

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/

/** The history of the first few violations shows the cause; the others would only take time. */
const MAX_STORIES = 20

/** Adds to the first violations the transitions and the attempts of the task that each of them names. */
export async function addStories(db: Database, violations: readonly string[]): Promise<string[]> {
  const explained: string[] = []
  for (const violation of violations) {
    const id = explained.length < MAX_STORIES ? UUID.exec(violation)?.[0] : undefined
    explained.push(id === undefined ? violation : [violation, ...(await readStory(db, id))].join('\n    '))
  }
  return explained
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
