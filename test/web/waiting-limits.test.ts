/** Why a task waits for a limit or a rate, and how many are ahead of it there. */
import t from 'tap'
import { openWaiting } from '../helpers/waiting.js'

const { openQueue, run, store, one, release, start, end, read, why } = await openWaiting(t)

t.test('a limit that is reached is named with the tasks that hold it, and how many are ahead of it', async (t) => {
  const queue = await openQueue()
  await run(
    `insert into taskwire.limits (name, queue, concurrency, set_by) values ('two-${queue}', '${queue}', 2, 'test')`,
  )
  const ids = await store(5, { queue })
  await release()
  t.match(await why(t, ids[0] ?? ''), { code: 'starting' }, 'released')
  const waitingFor = await why(t, ids[4] ?? '')
  t.match(waitingFor, {
    code: 'limit',
    text: `the limit two-${queue} allows 2 at a time; 2 tasks are ahead of it`,
    ahead: 2,
  })
  t.same([...waitingFor.taskIds].sort(), ids.slice(0, 2))
})

t.test('a rate says when it allows the next start, and each task ahead of it adds a period', async (t) => {
  const queue = await openQueue()
  await run(
    `insert into taskwire.limits (name, queue, rate, period_ms, burst, set_by) values ('rate-${queue}', '${queue}', 2, 60000, 1, 'test')`,
  )
  const ids = await store(4, { queue })
  await release()
  const [second, fourth] = [await why(t, ids[1] ?? ''), await why(t, ids[3] ?? '')]
  t.match(second, { code: 'rate', ahead: 0, text: `the limit rate-${queue} allows 2 starts in a minute; it is next` })
  t.equal(second.until, second.start?.at)
  t.equal(fourth.ahead, 2)
  t.equal(Date.parse(fourth.start?.at ?? '') - Date.parse(fourth.until ?? ''), 60_000)
})

t.test('each task ahead of one that waits for a rate adds as many periods as it costs', async (t) => {
  const queue = await openQueue()
  await run(
    `insert into taskwire.limits (name, queue, rate, period_ms, burst, set_by) values ('cost-${queue}', '${queue}', 1, 60000, 1, 'test')`,
  )
  const costs = [1, 5, 1, 7, 1]
  const ids: string[] = []
  for (const cost of costs) ids.push(await one({ queue, more: { cost } }))
  await release()
  const periods = async (id: string) => {
    const { start, until } = await why(t, id)
    return (Date.parse(start?.at ?? '') - Date.parse(until ?? '')) / 60_000
  }
  const found: number[] = []
  for (const id of ids.slice(1)) found.push(await periods(id))
  t.same(found, [0, 5, 6, 13])
  // Those in other lanes cost as much as tasks do there on average: here five are ahead of the second of its lane.
  for (const key of ['a', 'b', 'c']) await one({ queue, more: { cost: 10, concurrencyKey: key } })
  await release()
  const [, last = ''] = await store(2, { queue, more: { concurrencyKey: 'd' } })
  await release()
  t.match(await why(t, last), { code: 'rate', ahead: 5 })
  t.ok((await periods(last)) > 12, 'the costs of other lanes count too')
})

t.test('of a limit that is free only as many tasks start as it has room for; the others wait for it', async (t) => {
  // Without a release: what was seen for a moment before it.
  const shapes = [
    ['in one lane', () => ({})],
    ['in a lane each', (index: number) => ({ more: { concurrencyKey: `key-${index}` } })],
    ['of a tenant each', (index: number) => ({ tenant: `tenant-${index}` })],
  ] as const
  for (const [what, more] of shapes)
    for (const room of [1, 2]) {
      const queue = await openQueue()
      await run(
        `insert into taskwire.limits (name, queue, concurrency, set_by) values ('room-${queue}', '${queue}', ${room}, 'test')`,
      )
      const holders: string[] = []
      for (let index = 0; index < room; index += 1) holders.push(await one({ queue, ...more(index) }))
      await release()
      for (const id of holders) await start(id)
      const ids: string[] = []
      for (let index = 0; index < 4; index += 1) ids.push(await one({ queue, ...more(10 + index) }))
      await release()
      for (const id of holders) await end(id)
      const found = await Promise.all(
        ids.map(async (id, index) => {
          const headers = { 'x-tenant': (more(10 + index) as { tenant?: string }).tenant ?? 'default' }
          return (await read(id, headers)).waitingFor
        }),
      )
      t.equal(found.filter((one) => one?.code === 'starting').length, room, `${what}, room for ${room}`)
      const others = found.filter((one) => one?.code === 'limit')
      t.equal(others.length, 4 - room)
      for (const other of others) t.match(other?.text, `the limit room-${queue} allows ${room} at a time; `)
      t.same(others.map((other) => other?.ahead).sort(), [1, 2, 3].slice(room - 1))
    }
})
