/** Pauses, the ramps after them, weights, and halted sequences. */
import t from 'tap'
import { DEFAULT_PRINCIPAL, serviceOf } from '../../src/access/principal.js'
import { createPauseEnder } from '../../src/relay/end-pauses.js'
import { listLimits } from '../../src/store/release/limits.js'
import { deletePause, listOldPauses, listPauses, pauseKey, putPause } from '../../src/store/release/pauses.js'
import { listHaltedSequences, resumeSequence } from '../../src/store/release/sequences.js'
import { deleteWeight, listWeights, putWeight } from '../../src/store/release/weights.js'
import { openReleaseStore } from '../helpers/release-store.js'

const { db, run, openQueue, store, release, claim, end } = await openReleaseStore(t)
const warnings: unknown[] = []
const log = { info() {}, warn: (fields: unknown) => void warnings.push(fields) } as never
const endPauses = createPauseEnder({ db, log })
const inMs = (ms: number) => new Date(Date.now() + ms).toISOString()
const ramps = async () => (await listLimits(DEFAULT_PRINCIPAL, db)).filter(({ source }) => source === 'resume')
/** Moves everything that is timed into the past. */
const advance = (seconds: number) =>
  run(`with w as (update taskwire.wakes set at = at - interval '${seconds} s'), p as (update taskwire.pauses set until = until - interval '${seconds} s')
    update taskwire.limits set ramp_since = ramp_since - interval '${seconds} s' where ramp_since is not null`)

t.test('a pause of each kind holds what waits, what is released and what was dispatched', async (t) => {
  for (const kind of ['queue', 'type', 'tenant', 'key'] as const) {
    const queue = await openQueue(10)
    const own = { queue, tenant: `t-${queue}`, type: `own.${queue}`, more: { concurrencyKey: `k-${queue}` } }
    const name = { queue, type: own.type, tenant: own.tenant, key: own.more.concurrencyKey }[kind]
    const principal = { ...DEFAULT_PRINCIPAL, tenant: own.tenant }
    const [released = ''] = await store(1, own)
    t.same(await release(), [released], kind)
    const [dispatched = ''] = await store(1, { ...own, isGated: false, isHandedOver: true })
    const pause = await putPause(principal, db, kind, name, { reason: 'a reason' })
    t.match(pause, { kind, name, reason: 'a reason', setBy: 'anonymous', until: null })
    const waiting = await store(2, own)
    for (const id of [released, dispatched]) t.match(await claim(id), { isGated: true }, kind)
    t.same(await release(), [], kind)
    t.match(await listPauses(principal, db), [{ kind, name }])
    t.equal((await listPauses(DEFAULT_PRINCIPAL, db)).length, kind === 'key' ? 0 : 1, 'keys belong to their tenant')
    t.ok(await deletePause(principal, db, kind, name))
    t.notOk(await deletePause(principal, db, kind, name))
    const first = await release()
    t.equal(first.length, kind === 'key' ? 4 : 1, `${kind}: only a key starts without a ramp`)
    await advance(2)
    const all = [...first, ...(await release())]
    t.same(all.sort(), [released, dispatched, ...waiting].sort(), kind)
  }
})

t.test('a ramp doubles each second, ends after ten, and is made only when tasks wait', async (t) => {
  const queue = await openQueue(100)
  await putPause(DEFAULT_PRINCIPAL, db, 'queue', queue, {})
  await deletePause(DEFAULT_PRINCIPAL, db, 'queue', queue)
  t.notOk((await ramps()).some((limit) => limit.queue === queue))
  await putPause(DEFAULT_PRINCIPAL, db, 'queue', queue, {})
  await store(40, { queue })
  t.same(await release(), [])
  await deletePause(DEFAULT_PRINCIPAL, db, 'queue', queue)
  const counts = [(await release()).length]
  for (let second = 1; second <= 4; second += 1) {
    await advance(1)
    // However slow this machine is.
    await run(`update taskwire.limits set ramp_since = now() - interval '${second} s' where ramp_since is not null`)
    counts.push((await release()).length)
  }
  t.same(counts, [1, 1, 2, 4, 8])
  await endPauses()
  t.ok((await ramps()).some((limit) => limit.queue === queue))
  await advance(7)
  await endPauses()
  t.notOk((await ramps()).some((limit) => limit.queue === queue))
  t.equal((await release()).length, 40 - 16)
  t.same(await run(`select * from taskwire.holds where limit_name like 'resume-%-${queue}'`), [])
})

t.test('a pause with an end ends by itself, with a ramp', async (t) => {
  const queue = await openQueue(100)
  await putPause(DEFAULT_PRINCIPAL, db, 'queue', queue, { until: inMs(3_600_000) })
  await store(10, { queue })
  t.same(await release(), [])
  await advance(3_599)
  t.same(await release(), [])
  await advance(1)
  t.equal((await release()).length, 1)
  await endPauses()
  t.same(await listPauses(DEFAULT_PRINCIPAL, db), [])
  t.same(await run('select * from taskwire.pauses'), [])
  await advance(1)
  t.equal((await release()).length, 1)
  await advance(20)
  await endPauses()
  t.equal((await release()).length, 8)
})

t.test('an end that has passed is refused, and an end can be taken away', async (t) => {
  const queue = await openQueue(1)
  t.equal(await putPause(DEFAULT_PRINCIPAL, db, 'queue', queue, { until: inMs(-1_000) }), undefined)
  t.same(await listPauses(DEFAULT_PRINCIPAL, db), [])
  await putPause(DEFAULT_PRINCIPAL, db, 'queue', queue, { until: inMs(60_000) })
  await putPause(DEFAULT_PRINCIPAL, db, 'queue', queue, {})
  t.notOk((await ramps()).some((limit) => limit.queue === queue))
  await store(1, { queue })
  await advance(120)
  t.same(await release(), [])
  await deletePause(DEFAULT_PRINCIPAL, db, 'queue', queue)
  t.equal((await release()).length, 1)
})

t.test('a task pauses its key for seven days at most, and never shortens a pause', async (t) => {
  const queue = await openQueue(10)
  const task = serviceOf('default', 'task:1')
  const only = async () => (await listPauses(DEFAULT_PRINCIPAL, db)).find(({ name }) => name === `k-${queue}`)
  await pauseKey(task, db, `k-${queue}`, 0, null)
  await pauseKey(task, db, `k-${queue}`, inMs(-5_000), null)
  t.equal(await only(), undefined, 'nothing that has passed')
  await pauseKey(task, db, `k-${queue}`, 60_000, 'status 429')
  const first = await only()
  t.match(first, { kind: 'key', setBy: 'task:1', reason: 'status 429' })
  await pauseKey(serviceOf('default', 'task:2'), db, `k-${queue}`, 1_000, null)
  t.same(await only(), first)
  await pauseKey(task, db, `k-${queue}`, 30 * 86_400_000, null)
  const until = Date.parse((await only())?.until ?? '') - Date.now()
  t.ok(until < 7.1 * 86_400_000 && until > 6.9 * 86_400_000)
  await putPause(DEFAULT_PRINCIPAL, db, 'key', `k-${queue}`, { reason: 'by a person' })
  await pauseKey(task, db, `k-${queue}`, 60_000, null)
  t.match(await only(), { until: null, reason: 'by a person' })
  const [own] = await store(1, { queue, more: { concurrencyKey: `k-${queue}` } })
  const [other] = await store(1, { queue, more: { concurrencyKey: 'other' } })
  t.same(await release(), [other])
  await deletePause(DEFAULT_PRINCIPAL, db, 'key', `k-${queue}`)
  t.same(await release(), [own])
})

t.test('a pause older than a day is warned of once', async (t) => {
  const queue = await openQueue(1)
  await putPause(DEFAULT_PRINCIPAL, db, 'queue', queue, { reason: 'forgotten' })
  await endPauses()
  t.same(warnings, [])
  await run(`update taskwire.pauses set set_at = now() - interval '25 h'`)
  await endPauses()
  await endPauses()
  t.match(warnings, [{ kind: 'queue', name: queue, reason: 'forgotten', setBy: 'anonymous' }])
  t.equal(warnings.length, 1)
  t.equal((await listOldPauses(db)).length, 1)
  await deletePause(DEFAULT_PRINCIPAL, db, 'queue', queue)
})

t.test('a weight reaches the tasks that wait already', async (t) => {
  const queue = await openQueue(30)
  const heavy = await store(60, { queue, tenant: 'heavy' })
  await store(60, { queue, tenant: 'light' })
  t.match(await putWeight(DEFAULT_PRINCIPAL, db, { tenant: 'heavy' }, { weight: 2, reason: 'paid' }), {
    tenant: 'heavy',
    key: null,
    weight: 2,
    reason: 'paid',
    setBy: 'anonymous',
  })
  const first = await release()
  t.equal(first.length, 30)
  t.equal(first.filter((id) => heavy.includes(id)).length, 20)
})

t.test('a changed weight decides about the very next starts', async (t) => {
  for (const kind of ['key', 'tenant'] as const) {
    const queue = await openQueue(4)
    const of = (name: string) => (kind === 'key' ? { more: { concurrencyKey: name } } : { tenant: name })
    const weighted = (name: string) => (kind === 'key' ? { key: name } : { tenant: name })
    await putWeight(DEFAULT_PRINCIPAL, db, weighted('least'), { weight: 0.01 })
    const least = await store(40, { queue, ...of('least') })
    await store(40, { queue, ...of('other') })
    const startFour = async () => {
      const ids = await release()
      for (const id of ids) {
        await claim(id)
        await end(id)
      }
      return ids.filter((id) => least.includes(id)).length
    }
    t.equal(await startFour(), 1, `${kind}: each starts once, then only the other`)
    t.equal(await startFour(), 0)
    await deleteWeight(DEFAULT_PRINCIPAL, db, weighted('least'))
    t.ok((await startFour()) >= 1, `${kind}: its turn comes at once`)
    t.equal(await startFour(), 2, `${kind}: the same share again`)
    await run(`delete from taskwire.deliveries where queue = '${queue}'`)
  }
})

t.test('weights of keys belong to the tenant that sets them', async (t) => {
  const other = { ...DEFAULT_PRINCIPAL, tenant: 'other' }
  await putWeight(other, db, { key: 'k' }, { weight: 3 })
  t.notOk((await listWeights(DEFAULT_PRINCIPAL, db)).some(({ key }) => key === 'k'))
  t.notOk(await deleteWeight(DEFAULT_PRINCIPAL, db, { key: 'k' }))
  t.match(
    (await listWeights(other, db)).filter(({ key }) => key === 'k'),
    [{ tenant: 'other', key: 'k', weight: 3 }],
  )
  t.ok(await deleteWeight(other, db, { key: 'k' }))
  t.ok(await deleteWeight(other, db, { tenant: 'heavy' }))
  t.same(await listWeights(other, db), [])
})

t.test('a halted sequence is listed, and goes on when it is resumed', async (t) => {
  const queue = await openQueue(10)
  const ids = await store(4, { queue, more: { sequenceKey: 's' } })
  t.same(await release(), ids.slice(0, 1))
  await claim(ids[0] ?? '')
  await end(ids[0] ?? '', { outcome: 'failed', status: 'FAILED' })
  t.same(await release(), [])
  t.match(await listHaltedSequences(DEFAULT_PRINCIPAL, db), [{ key: 's', haltedBy: ids[0], waiting: 3 }])
  const other = { ...DEFAULT_PRINCIPAL, tenant: 'other' }
  t.same(await listHaltedSequences(other, db), [])
  t.notOk(await resumeSequence(other, db, 's'))
  t.ok(await resumeSequence(DEFAULT_PRINCIPAL, db, 's'))
  t.notOk(await resumeSequence(DEFAULT_PRINCIPAL, db, 's'))
  t.same(await listHaltedSequences(DEFAULT_PRINCIPAL, db), [])
  t.same(await release(), ids.slice(1, 2))
})
