/**
 * Lists while the broker is away, frozen or has lost its data: they become correct again by themselves. Real servers.
 */
import { once } from 'node:events'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { startApp, startWebBeside } from '../helpers/app.js'
import { readList, watchList } from '../helpers/list-watch.js'
import { startProxy } from '../helpers/proxy.js'
import { createTask } from '../helpers/watch.js'

const app = await startApp(t, ['worker', 'relay'])
const { address, redis } = app

async function makeTasks(tag: string, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1)
    await createTask(address, { tags: [tag], payload: { steps: 1, stepMs: 5 } })
}

t.test(
  'a web process whose connection to Redis is frozen, cut and thawed always shows the stored state',
  { skip: redis === undefined && 'no Redis here' },
  async (t) => {
    if (redis === undefined) return
    const url = new URL(redis.url)
    const proxy = await startProxy(t, [Number(url.port)])
    url.port = String(proxy.port)
    const deaf = await startWebBeside(t, app, { REDIS_URL: url.href })
    const list = { filter: { tag: 'deaf' }, limit: 100 }
    const [here, there] = [await watchList(t, deaf, list), await watchList(t, address, list)]
    const isRight = (count: number) =>
      [here, there].every(
        (one) => one.rows().length === count && one.rows().every(({ status }) => status === 'COMPLETED'),
      )
    const becomeRight = async (count: number) => {
      for (const one of [here, there])
        await one.until(() => one.rows().length === count && one.rows().every(({ status }) => status === 'COMPLETED'))
      t.ok(isRight(count))
    }
    await makeTasks('deaf', 5)
    await becomeRight(5)
    proxy.freeze()
    await makeTasks('deaf', 5)
    await becomeRight(10)
    proxy.thaw()
    proxy.cut()
    await makeTasks('deaf', 5)
    await becomeRight(15)
    t.same(here.rows(), await readList(address, list))
  },
)

t.test('a list has every task through a restart of the broker', async (t) => {
  const list = { filter: { tag: 'restart' }, limit: 100 }
  const watched = await watchList(t, address, list)
  await makeTasks('restart', 5)
  const broker = redis ?? app.postgres
  await broker.kill()
  await broker.start()
  let made = 5
  for (let failures = 0; made < 20 && failures < 200;)
    await makeTasks('restart', 1).then(
      () => (made += 1),
      () => (failures += 1),
    )
  await watched.until(
    () => watched.rows().length === 20 && watched.rows().every(({ status }) => status === 'COMPLETED'),
  )
  t.same(watched.rows(), await readList(address, list))
})

/** Subscribes to the tasks that match a selection. */
async function watchMatches(t: Test, selection: object) {
  const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks`)
  t.teardown(() => socket.terminate())
  const told = new Set<string>()
  const said: string[] = []
  socket.on('message', (data: Buffer) => {
    const { type, taskId = '' } = JSON.parse(data.toString()) as { type: string; taskId?: string }
    said.push(type)
    told.add(taskId)
  })
  const until = async (isTrue: () => boolean) => {
    while (!isTrue()) await once(socket, 'message', { signal: AbortSignal.timeout(30_000) })
  }
  await once(socket, 'open')
  socket.send(JSON.stringify({ type: 'subscribe', id: 'fits', selection }))
  await until(() => said.includes('subscribed'))
  return { toldOf: (id: string) => until(() => told.has(id)) }
}

t.test('after the table was locked, lists, counts and subscriptions are soon correct again', async (t) => {
  // More tasks than the window shows, so that the list has counts.
  await makeTasks('locked', 3)
  const list = { filter: { tag: 'locked' }, limit: 2 }
  const watched = await watchList(t, address, list)
  const countOf = () => Object.values(watched.state.counts?.byStatus ?? {}).reduce((sum, count) => sum + count, 0)
  await watched.until(() => countOf() === 3)
  const matches = await watchMatches(t, { tag: 'locked' })
  const sql = postgres(app.postgres.url, { max: 2 })
  t.teardown(() => sql.end())
  let hasLock = () => {}
  const locked = new Promise<void>((resolve) => (hasLock = resolve))
  const lock = sql.begin(async (transaction) => {
    await transaction`lock table taskwire.tasks in access exclusive mode`
    hasLock()
    await transaction`select pg_sleep(4.5)`
  })
  await locked
  await lock
  // Created in SQL, so no notice announces it.
  const [made] = await sql<
    { id: string }[]
  >`select taskwire.create_task('demo.sleep', title => 'by SQL', payload => '{"steps": 0}', tags => array['locked']) as id`
  // The usual pause of twenty times the last poll would keep the list stale for more than a minute.
  await Promise.all([
    watched.until(() => watched.rows()[0]?.id === made?.id && countOf() === 4, 60_000),
    matches.toldOf(String(made?.id)),
  ])
  t.match(watched.rows(), [{ id: made?.id, title: 'by SQL' }, {}])
  t.equal(countOf(), 4)
})
