/** Weights: the shares of tenants, and of keys within their tenant. The next release reads them. */
import type { Principal } from '../../access/principal.js'
import type { Database, Statement } from '../../db/database.js'
import type { PutWeight, Weight } from '../../protocol/release.js'

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

function identify(principal: Principal, weighted: Weighted): [kind: string, tenant: string, key: string] {
  return 'key' in weighted ? ['key', principal.tenant, weighted.key] : ['tenant', weighted.tenant, '']
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
  const [row] = await db.run<WeightRow>(PUT_WEIGHT, [...identify(principal, weighted), weight, principal.actor, reason])
  return row && toWeight(row)
}

const DELETE_WEIGHT: Statement = {
  name: 'delete_weight',
  text: 'delete from taskwire.weights where kind = $1 and tenant = $2 and key = $3 returning weight',
}

/** The weight is 1 again. @returns whether it had another */
export async function deleteWeight(principal: Principal, db: Database, weighted: Weighted): Promise<boolean> {
  return (await db.run(DELETE_WEIGHT, identify(principal, weighted))).length > 0
}

function toWeight({ setAt, ...row }: WeightRow): Weight {
  return { ...row, setAt: setAt.toISOString() }
}
