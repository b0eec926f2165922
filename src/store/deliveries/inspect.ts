/**
 * Finds tasks that would never move again, for the doctor. The store's own statements cannot leave such tasks behind,
 * but a restored backup, a lost disk or manual SQL can. These queries read whole tables.
 */
import { sql, type SQL } from 'drizzle-orm'
import type { Database, Orm } from '../../db/database.js'
import { inStatuses } from '../../db/status-sql.js'
import { DELIVERABLE_STATUSES, IDLE_STATUSES, RUNNING_STATUSES } from '../../protocol/status.js'

const DELIVERABLE = sql.raw(inStatuses(DELIVERABLE_STATUSES))
const IDLE = sql.raw(inStatuses(IDLE_STATUSES))
const RUNNING = sql.raw(inStatuses(RUNNING_STATUSES))

/** The possible faults, each with its description, search and repair. */
const FAULTS = {
  waitingWithoutDelivery: {
    text: 'waiting tasks without a delivery, so no worker would get them',
    find: sql`from taskwire.tasks t where t.status ${DELIVERABLE}
      and not exists (select from taskwire.deliveries d where d.task_id = t.id and d.attempt = t.attempt + 1)`,
    repair: (found: SQL) => sql`
      insert into taskwire.deliveries (task_id, attempt, tenant, queue, priority, due_at, expires_at)
      select t.id, t.attempt + 1, t.tenant, t.queue, t.priority, coalesce(t.run_at, now()), t.expires_at ${found} for update of t
      on conflict (task_id) do update set attempt = excluded.attempt, due_at = excluded.due_at`,
  },
  runningWithoutLease: {
    text: 'PROCESSING tasks without a lease, so no worker holds them',
    find: sql`from taskwire.tasks t where t.status ${RUNNING}
      and not exists (select from taskwire.leases l where l.task_id = t.id and l.attempt = t.attempt)`,
    // The relay rescues the attempt of an expired lease.
    repair: (found: SQL) => sql`
      insert into taskwire.leases (task_id, attempt, tenant, worker, lease_until)
      select t.id, t.attempt, t.tenant, 'unknown', now() ${found} for update of t
      on conflict (task_id) do update set attempt = excluded.attempt, lease_until = excluded.lease_until`,
  },
  deliveriesOfOthers: {
    text: 'deliveries of tasks that are not waiting',
    find: sql`from taskwire.deliveries d where not exists (select from taskwire.tasks t
      where t.id = d.task_id and t.attempt = d.attempt - 1 and t.status ${IDLE})`,
    repair: (found: SQL) => sql`delete from taskwire.deliveries where task_id in (select d.task_id ${found})`,
  },
  leasesOfOthers: {
    text: 'leases of tasks that are not running',
    find: sql`from taskwire.leases l where not exists (select from taskwire.tasks t
      where t.id = l.task_id and t.attempt = l.attempt and t.status ${RUNNING})`,
    repair: (found: SQL) => sql`delete from taskwire.leases where task_id in (select l.task_id ${found})`,
  },
} as const

export interface Fault {
  name: keyof typeof FAULTS
  text: string
  count: number
}

/** The current faults. Each statement sees one snapshot, so a change in progress is not mistaken for a fault. */
export async function findFaults(db: Database): Promise<Fault[]> {
  const counted = await Promise.all(
    (Object.keys(FAULTS) as Fault['name'][]).map(async (name) => {
      const [row] = await ask<{ count: number }>(db.orm, sql`select count(*)::integer as count ${FAULTS[name].find}`)
      return { name, text: FAULTS[name].text, count: row?.count ?? 0 }
    }),
  )
  return counted.filter(({ count }) => count > 0)
}

/** Repairs all of these faults in one transaction. */
export async function repairFaults(db: Database, faults: readonly Pick<Fault, 'name'>[]): Promise<void> {
  await db.transaction(async (transaction) => {
    for (const { name } of faults) await transaction.orm.execute(FAULTS[name].repair(FAULTS[name].find))
  })
}

export interface Pulse {
  clockMs: number
  server: string
  /** Deliveries that have been due for a minute: no relay takes them, or the broker does not. */
  overdueDeliveries: number
  /** Leases that expired ten seconds ago: no relay rescues their attempts. */
  overdueLeases: number
  /** Whether the role of this connection is a superuser. */
  isSuperuser: boolean
}

export async function readPulse(db: Database): Promise<Pulse> {
  const [row] = await ask<Record<keyof Pulse, string | number | boolean>>(
    db.orm,
    sql`select extract(epoch from clock_timestamp()) * 1000 as "clockMs", current_setting('server_version') as server,
      (select count(*)::integer from taskwire.deliveries where due_at < now() - interval '60 s') as "overdueDeliveries",
      (select count(*)::integer from taskwire.leases where lease_until < now() - interval '10 s') as "overdueLeases",
      (select rolsuper from pg_roles where rolname = current_user) as "isSuperuser"`,
  )
  if (row === undefined) throw new Error('the database did not answer')
  const { clockMs, server, overdueDeliveries, overdueLeases, isSuperuser } = row
  return {
    clockMs: Number(clockMs),
    server: String(server),
    overdueDeliveries: Number(overdueDeliveries),
    overdueLeases: Number(overdueLeases),
    isSuperuser: isSuperuser === true,
  }
}

async function ask<Row>(orm: Orm, query: SQL): Promise<Row[]> {
  return (await orm.execute(query)) as unknown as Row[]
}
