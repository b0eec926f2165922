/** Lists while the broker is lost, frozen and forgetful: what is shown becomes right again by itself. Real servers. */
import t from 'tap'
import { startApp, startWebBeside } from '../helpers/app.js'
import { readList, watchList } from '../helpers/list-watch.js'
import { startProxy } from '../helpers/proxy.js'
import { createTask } from '../helpers/watch.js'

const app = await startApp(t, ['worker', 'relay'])
const { address, redis } = app

async function makeTasks(tag: string, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await createTask(address, { tags: [tag], payload: { steps: 1, stepMs: 5 } })
}

t.test('a web process whose line to Redis is frozen, cut and thawed shows what is stored all the while', { skip: redis === undefined && 'no Redis here' }, async (t) => {
  if (redis === undefined) return
  const url = new URL(redis.url)
  const proxy = await startProxy(t, [Number(url.port)])
  url.port = String(proxy.port)
  const deaf = await startWebBeside(t, app, { REDIS_URL: url.href })
  const list = { filter: { tag: 'deaf' }, limit: 100 }
  const [here, there] = [await watchList(t, deaf, list), await watchList(t, address, list)]
  const isRight = (count: number) => [here, there].every((one) => one.rows().length === count && one.rows().every(({ status }) => status === 'COMPLETED'))
  const becomeRight = async (count: number) => {
    for (const one of [here, there]) await one.until(() => one.rows().length === count && one.rows().every(({ status }) => status === 'COMPLETED'))
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
})

t.test('a list has every task through a restart of the broker', async (t) => {
  const list = { filter: { tag: 'restart' }, limit: 100 }
  const watched = await watchList(t, address, list)
  await makeTasks('restart', 5)
  const broker = redis ?? app.postgres
  await broker.kill()
  await broker.start()
  let made = 5
  for (let failures = 0; made < 20 && failures < 200; ) await makeTasks('restart', 1).then(() => (made += 1), () => (failures += 1))
  await watched.until(() => watched.rows().length === 20 && watched.rows().every(({ status }) => status === 'COMPLETED'))
  t.same(watched.rows(), await readList(address, list))
})
