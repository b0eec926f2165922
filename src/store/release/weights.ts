/**
 * Weights: the shares of tenants, and of keys within their tenant.
 *
 * A start moves the virtual time of its tenant and its key on by 1 / weight. What is left of that is converted when the
 * weight changes, or the old weight would decide about the next start.
 */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement, Transaction } from '../../db/database.js'
import type { PutWeight, Weight } from '../../protocol/release.js'
import { whileNothingStarts } from './set-limit.js'

interface WeightRow {
  tenant: string
  key: string | null
  weight: number
  setBy: string
  setAt: Date
  reason: string | null
}

const COLUMNS = `w.tenant, nullif(w.key, '') as key, w.weight, w.set_by as "setBy", w.set_at as "setAt", w.reason`

const LIST_WEIGHTS: Statement = {
  name: 'list_weights',
  text: `
select ${COLUMNS}
from taskwire.weights w
where w.kind = 'tenant' or w.tenant = $1
order by w.kind desc, w.tenant, w.key
limit 1000`,
}

/** Those of tenants, and of the principal's own keys; at most 1,000. */
export async function listWeights(principal: Principal, db: Database): Promise<Weight[]> {
  return (await db.run<WeightRow>(LIST_WEIGHTS, [principal.tenant])).map(toWeight)
}

/** What has a weight: a tenant, or a key of the principal's tenant. */
export type Weighted = { tenant: string } | { key: string }

type WeightId = [kind: 'tenant' | 'key', tenant: string, key: string]

function identify(principal: Principal, weighted: Weighted): WeightId {
  return 'key' in weighted ? ['key', principal.tenant, weighted.key] : ['tenant', weighted.tenant, '']
}

const FIND_WEIGHT: Statement = {
  name: 'find_weight',
  text: 'select weight from taskwire.weights where kind = $1 and tenant = $2 and key = $3',
}

/** By what the time left is multiplied: $2 for tenants, $3 for keys. */
const CONVERT_TIMES: Record<WeightId[0], Statement> = {
  tenant: {
    name: 'convert_times_of_tenant',
    text: `
update taskwire.shares s
set tag = v.time + (s.tag - v.time) * $2::double precision
from taskwire.levels v
where s.tenant = $1 and v.queue = s.queue and v.priority = s.priority and s.tag > v.time`,
  },
  key: {
    name: 'convert_times_of_key',
    text: `
update taskwire.lanes l
set tag = s.key_time + (l.tag - s.key_time) * $3::double precision
from taskwire.shares s
where l.tenant = $1 and l.key = $2 and s.queue = l.queue and s.priority = l.priority and s.tenant = l.tenant and l.tag > s.key_time`,
  },
}

/** Changes a weight by \`write\`, which answers with the row if there is one. @param weight the new one */
async function change<Row>(
  db: Database,
  id: WeightId,
  weight: number,
  write: (transaction: Transaction) => Promise<Row[]>,
): Promise<Row | undefined> {
  const [kind, tenant, key] = id
  return whileNothingStarts(
    db,
    async (transaction) => {
      const [before] = await transaction.run<{ weight: number }>(FIND_WEIGHT, id)
      const [row] = await write(transaction)
      const ratio = (before?.weight ?? 1) / weight
      if (ratio !== 1)
        await transaction.run(CONVERT_TIMES[kind], kind === 'tenant' ? [tenant, ratio] : [tenant, key, ratio])
      return row
    },
    { claims: false },
  )
}

const PUT_WEIGHT: Statement = {
  name: 'put_weight',
  text: `
insert into taskwire.weights as w (kind, tenant, key, weight, set_by, reason)
values ($1, $2, $3, $4::double precision, $5, $6)
on conflict (kind, tenant, key) do update
set weight = excluded.weight, set_by = excluded.set_by, set_at = now(), reason = excluded.reason
returning ${COLUMNS}`,
}

/** Holds from the next release on, also for tasks that wait already. */
export async function putWeight(
  principal: Principal,
  db: Database,
  weighted: Weighted,
  { weight, reason = null }: { weight: number; reason?: PutWeight['reason'] | null },
): Promise<Weight | undefined> {
  const id = identify(principal, weighted)
  const row = await change(db, id, weight, (transaction) =>
    transaction.run<WeightRow>(PUT_WEIGHT, [...id, weight, principal.actor, reason]),
  )
  return row && toWeight(row)
}

const DELETE_WEIGHT: Statement = {
  name: 'delete_weight',
  text: 'delete from taskwire.weights where kind = $1 and tenant = $2 and key = $3 returning weight',
}

/** The weight is 1 again. @returns whether it had another */
export async function deleteWeight(principal: Principal, db: Database, weighted: Weighted): Promise<boolean> {
  const id = identify(principal, weighted)
  return (await change(db, id, 1, (transaction) => transaction.run(DELETE_WEIGHT, id))) !== undefined
}

function toWeight({ setAt, ...row }: WeightRow): Weight {
  return { ...row, setAt: setAt.toISOString() }
}
