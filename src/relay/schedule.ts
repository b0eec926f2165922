/** Makes the slots of schedules that are due: see `schedules/slot-maker.ts`. The deliver loop dispatches their tasks. */
import type { Publisher } from '../broker/publisher.js'
import type { Database } from '../db/database.js'
import { makeDueSlots } from '../schedules/slot-maker.js'
import { announceTasks } from '../tasks/create/announcer.js'
import type { Releaser } from '../tasks/release/releaser.js'

export interface ScheduleDeps {
  db: Database
  publisher: Publisher
  releaser: Pick<Releaser, 'wake'>
}

/** One transaction. True when there may be more. Safe in several relays at once. */
export async function scheduleOnce({ db, publisher, releaser }: ScheduleDeps): Promise<boolean> {
  const { tasks, created, events, hasMore } = await makeDueSlots(db)
  publisher.publish(events)
  announceTasks(publisher, tasks, created)
  if (tasks.length > 0) releaser.wake()
  return hasMore
}
