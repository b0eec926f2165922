/**
 * Makes every dispatched delivery due again after the broker has lost its data.
 *
 * When several relays notice it, only one changes the stored epoch and, in the same statement, the deliveries: those
 * that were dispatched, or should have been, and were not claimed. Deliveries that wait for a later start are
 * unchanged. Redelivering one that did arrive is harmless: the claim decides.
 */
import type { Database, Statement } from '../../db/database.js'

const REDELIVER: Statement = {
  name: 'redeliver_if_new_epoch',
  text: `
with changed as (
  insert into taskwire.epochs as e (broker, epoch) values ($1, $2)
  on conflict (broker) do update set epoch = excluded.epoch, seen_at = now() where e.epoch <> excluded.epoch
  returning broker
), lost as (
  select d.task_id from taskwire.deliveries d
  where (select count(*) from changed) > 0 and d.due_at > now() and d.due_at <= now() + $3::double precision * interval '1 ms'
    and (d.hand_overs > 0 or (select t.status from taskwire.tasks t where t.id = any(array[d.task_id])) = 'PENDING')
  order by d.task_id for update of d skip locked
), redelivered as (
  update taskwire.deliveries d set due_at = now() from lost where d.task_id = any(array[lost.task_id]) returning 1
)
select (select count(*) from changed)::integer as "changed", (select count(*) from redelivered)::integer as "redelivered"`,
}

/**
 * @param windowMs how far in the future a dispatched delivery may be due
 * @returns how many deliveries are due again; undefined when the epoch is the known one
 */
export async function redeliverIfNewEpoch(
  db: Database,
  broker: string,
  epoch: string,
  windowMs: number,
): Promise<number | undefined> {
  const [row] = await db.run<{ changed: number; redelivered: number }>(REDELIVER, [broker, epoch, windowMs])
  return row && row.changed > 0 ? row.redelivered : undefined
}
