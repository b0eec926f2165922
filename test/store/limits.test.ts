/** Limits that are set while tasks run and wait: what they count, and what they let start. */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Limit, PutLimit } from '../../src/protocol/release.js'
import { writeCodeLimits, type CodeLimit } from '../../src/store/release/code-limits.js'
import { deleteLimit, listLimits, MAX_LIMITS, putLimit } from '../../src/store/release/limits.js'
import { deleteUnusedRates } from '../../src/store/release/rates.js'
import { openReleaseStore } from '../helpers/release-store.js'

const { db, run, openQueue, store, release, claim, end } = await openReleaseStore(t)

const put = (name: string, limit: PutLimit) => putLimit(DEFAULT_PRINCIPAL, db, name, limit)
const find = async (name: string): Promise<Limit | undefined> =>
  (await listLimits(DEFAULT_PRINCIPAL, db)).find((limit) => limit.name === name)

const OF_CODE: CodeLimit = {
  ...{ name: 'code', types: ['own.a'], per: 'all', concurrency: 3 },
  ...{ rate: null, periodMs: null, burst: null, whenOver: 'delay' },
}

t.test('a limit counts what runs or is released when it is set', async (t) => {
  const queue = await openQueue(10)
  const open = await store(2, { queue, isGated: false, isHandedOver: true })
  for (const id of open) t.match(await claim(id), { gate: 'open' })
  const [released = ''] = await store(1, { queue })
  t.same(await release(), [released])
  t.match(await put(`n-${queue}`, { queue, concurrency: 4, reason: 'because' }), {
    source: 'api',
    setBy: 'anonymous',
    reason: 'because',
    use: [{ tenant: null, key: null, running: 3, left: 1 }],
  })
  const later = await store(3, { queue })
  t.same(await release(), later.slice(0, 1))
  t.same(await release(), [])
  for (const id of open) await end(id)
  t.same((await release()).sort(), later.slice(1).sort(), 'the ends of attempts that began before the limit make room')
  t.match(await find(`n-${queue}`), { use: [{ running: 4, left: 0 }] })
})

t.test('a limit that changes its scope counts anew; a larger one lets more start', async (t) => {
  const queue = await openQueue(10)
  const a = await store(3, { queue, more: { concurrencyKey: 'a' } })
  const b = await store(3, { queue, more: { concurrencyKey: 'b' } })
  await put(`s-${queue}`, { queue, concurrency: 1 })
  t.equal((await release()).length, 1)
  await put(`s-${queue}`, { queue, per: 'key', concurrency: 1 })
  const more = await release()
  t.equal(more.length, 1, 'the other key')
  t.same((await find(`s-${queue}`))?.use.map(({ key, running, left }) => [key, running, left]).sort(), [
    ['a', 1, 0],
    ['b', 1, 0],
  ])
  await put(`s-${queue}`, { queue, per: 'key', concurrency: 2 })
  t.equal((await release()).length, 2)
  t.equal(await deleteLimit(db, `s-${queue}`), 'deleted')
  t.equal((await release()).length, a.length + b.length - 4, 'without it all start')
  t.equal(await deleteLimit(db, `s-${queue}`), 'unknown')
  t.same(await run(`select * from taskwire.holds where limit_name = 's-${queue}'`), [])
})

t.test('a limit over several types counts them together, in any queue', async (t) => {
  const [one, two] = [await openQueue(10), await openQueue(10)]
  await put('shared', { types: ['shared.a', 'shared.b'], concurrency: 2 })
  const ids = [
    ...(await store(2, { queue: one, type: 'shared.a' })),
    ...(await store(2, { queue: two, type: 'shared.b' })),
    ...(await store(1, { queue: two, type: 'shared.other' })),
  ]
  const first = await release()
  t.equal(first.length, 3)
  t.ok(first.includes(ids[4] ?? ''), 'another type is not counted')
  t.same(await release(), [])
  const ended = first.find((id) => id !== ids[4]) ?? ''
  await claim(ended)
  await end(ended)
  t.equal((await release()).length, 1)
  await deleteLimit(db, 'shared')
})

t.test('a claim that has not seen the limit is counted by it', async (t) => {
  const queue = await openQueue(100)
  const ids = await store(20, { queue, isGated: false, isHandedOver: true })
  const claims = Promise.all(ids.map((id) => claim(id)))
  await put(`race-${queue}`, { queue, concurrency: 1 })
  const claimed = (await claims).filter((answer) => answer?.gate === 'open')
  t.equal((await find(`race-${queue}`))?.use[0]?.running, claimed.length)
  await deleteLimit(db, `race-${queue}`)
  await release()
})

t.test('a rate that changes keeps the starts it has counted, and takes effect at once', async (t) => {
  const queue = await openQueue(100)
  const name = `rate-${queue}`
  await put(name, { queue, rate: { limit: 2, periodMs: 86_400_000, burst: 2 } })
  t.match(await find(name), { rate: { limit: 2, burst: 2 }, use: [{ running: null, left: 2 }] })
  const ids = await store(8, { queue })
  t.same(await release(), ids.slice(0, 2))
  t.match(await find(name), { use: [{ running: null, left: 0 }] })
  // Two starts counted: of the new burst of 5, three are left. The old state would hold them for a day.
  await put(name, { queue, rate: { limit: 5, periodMs: 3_600_000, burst: 5 } })
  t.match(await find(name), { use: [{ left: 3 }] })
  t.same(await release(), ids.slice(2, 5))
  t.same(await release(), [])
  await put(name, { queue, concurrency: 100 })
  t.same((await release()).sort(), ids.slice(5).sort())
  t.same(await run(`select * from taskwire.rates where limit_name = '${name}'`), [])
})

t.test('the state of an unused rate is pruned, and that of a used one stays', async (t) => {
  const queue = await openQueue(10)
  await put(`prune-${queue}`, { queue, per: 'key', rate: { limit: 1, periodMs: 600_000 } })
  await store(1, { queue, more: { concurrencyKey: 'old' } })
  await store(1, { queue, more: { concurrencyKey: 'new' } })
  t.equal((await release()).length, 2)
  await run(`update taskwire.rates set next_at = now() - interval '2 min' where subject::json->>1 = 'old'`)
  await deleteUnusedRates(db, 1_000)
  t.match(await run(`select subject from taskwire.rates where limit_name = 'prune-${queue}'`), [
    { subject: '["default", "new"]' },
  ])
})

t.test('a start that costs more than the burst begins when the burst is free, and is charged in full', async (t) => {
  const queue = await openQueue(10)
  await put(`cost-${queue}`, { queue, rate: { limit: 1, periodMs: 1_000_000, burst: 2 } })
  const [large = '', next = ''] = await store(2, { queue, more: { cost: 10 } })
  t.same(await release(), [large])
  const [rate] = await run<{ periods: number }>(
    `select round(extract(epoch from next_at - now()) / 1000)::integer as periods from taskwire.rates where limit_name = 'cost-${queue}'`,
  )
  t.equal(rate?.periods, 10)
  await run(`update taskwire.rates set next_at = now() where limit_name = 'cost-${queue}'`)
  await run(`update taskwire.wakes set at = now()`)
  t.same(await release(), [next])
  await deleteLimit(db, `cost-${queue}`)
})

t.test('limits of code leave the starts that a limit of a person has counted', async (t) => {
  const queue = await openQueue(10)
  await put('kept', { queue, rate: { limit: 1, periodMs: 86_400_000 } })
  const [first = ''] = await store(2, { queue })
  t.same(await release(), [first])
  await writeCodeLimits(db, [{ ...OF_CODE, name: 'kept', types: ['own.k'], per: 'key' }], ['own.k'])
  t.match(await find('kept'), { source: 'api', use: [{ left: 0 }] })
  t.same(await release(), [])
  await deleteLimit(db, 'kept')
  t.equal((await release()).length, 1)
})

t.test('a limit beyond the most is refused, and those that there are can still be changed', async (t) => {
  const [row] = await run<{ count: number }>('select count(*)::integer as count from taskwire.limits')
  await run(
    `insert into taskwire.limits (name, queue, concurrency, set_by) select 'many-' || n, 'nowhere', 1, 'test' from generate_series(1, ${MAX_LIMITS - (row?.count ?? 0)}) n`,
  )
  t.equal(await put('one-more', { queue: 'nowhere', concurrency: 1 }), undefined)
  t.equal(await find('one-more'), undefined)
  t.match(await put('many-1', { queue: 'nowhere', concurrency: 2 }), { concurrency: 2 })
  await run(`delete from taskwire.limits where name like 'many-%'`)
})

t.test('of keys, a tenant sees its own counts', async (t) => {
  const queue = await openQueue(10)
  await put(`keys-${queue}`, { queue, per: 'key', concurrency: 5 })
  await store(1, { queue, tenant: 'a', more: { concurrencyKey: 'of a' } })
  await store(1, { queue, tenant: 'b', more: { concurrencyKey: 'of b' } })
  t.equal((await release()).length, 2)
  const seen = (await listLimits({ ...DEFAULT_PRINCIPAL, tenant: 'a' }, db)).find(
    ({ name }) => name === `keys-${queue}`,
  )
  t.same(seen?.use, [{ tenant: 'a', key: 'of a', running: 1, left: 4 }])
})

t.test('limits of code: the process that started last decides for the types that it knows', async (t) => {
  const shared = { ...OF_CODE, types: ['own.a', 'own.b'] }
  await writeCodeLimits(db, [shared], ['own.a', 'own.b'])
  t.match(await find('code'), { source: 'code', setBy: 'code', types: ['own.a', 'own.b'], concurrency: 3 })
  await writeCodeLimits(db, [{ ...OF_CODE, concurrency: 4 }], ['own.a'])
  t.match(await find('code'), { types: ['own.a', 'own.b'], concurrency: 4 }, 'a type it does not know keeps it')
  const before = await find('code')
  await writeCodeLimits(db, [{ ...OF_CODE, concurrency: 4 }], ['own.a'])
  t.same(await find('code'), before, 'nothing is written when nothing changes')
  await writeCodeLimits(db, [], ['own.a'])
  t.match(await find('code'), { types: ['own.b'] })
  await writeCodeLimits(db, [], ['own.a', 'own.b'])
  t.equal(await find('code'), undefined)
})

t.test('a limit of code is replaced by a person until that is deleted, and cannot be deleted itself', async (t) => {
  await writeCodeLimits(db, [OF_CODE], ['own.a'])
  t.equal(await deleteLimit(db, 'code'), 'of code')
  t.match(await put('code', { types: ['own.a'], concurrency: 1 }), { source: 'api', concurrency: 1 })
  await writeCodeLimits(db, [OF_CODE], ['own.a'])
  t.match(await find('code'), { source: 'api', concurrency: 1 }, 'also after a restart')
  await writeCodeLimits(db, [], ['own.a'])
  t.match(await find('code'), { source: 'api', concurrency: 1 }, 'also when the code no longer sets one')
  t.equal(await deleteLimit(db, 'code'), 'deleted')
  await writeCodeLimits(db, [OF_CODE], ['own.a'])
  t.match(await find('code'), { source: 'code', concurrency: 3 })
  await writeCodeLimits(db, [], ['own.a'])
})
