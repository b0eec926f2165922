/** A receiver that accepts connections and never answers, and other work of the same worker. */
import t from 'tap'
import { openDatabase } from '../../src/db/open.js'
import type { Task } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { startTarpit } from '../helpers/tarpits.js'
import { createTask, watch } from '../helpers/watch.js'
import { serve } from './serve.js'

const COUNT = 260
/** The number of slots, of 128, that a receiver may occupy before its first response. */
const BOUND = 4

const { address, databaseUrl } = await startApp(t, ['worker', 'relay'], { HTTP_REQUEST_ALLOW_PRIVATE: 'true' })
const db = openDatabase(databaseUrl, { maxConnections: 2 })
t.teardown(() => db.close())

async function createMany(body: object): Promise<void> {
  const answer = await fetch(`${address}/api/tasks/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ tasks: Array.from({ length: COUNT }, () => body) }),
  })
  if (answer.status !== 202) throw new Error(await answer.text())
}

async function completes(body: object): Promise<Task> {
  const { id } = await createTask(address, body)
  const { code } = await watch(address, `/ws/tasks/${id}`).closed
  if (code !== 1000) throw new Error(`the stream ended with ${code}`)
  return (await (await fetch(`${address}/api/tasks/${id}`)).json()) as Task
}

/** Resolves once each task for the tarpit either has a slot or has been put back. */
async function untilSorted(type: string): Promise<{ failed: number; released: number }> {
  const text = `select count(*) filter (where t.attempt > 0)::integer as started,
      (select count(*)::integer from taskwire.attempts a join taskwire.tasks t on t.id = a.task_id where t.type = $1 and a.outcome = 'failed') as failed,
      (select count(distinct a.task_id)::integer from taskwire.attempts a join taskwire.tasks t on t.id = a.task_id where t.type = $1 and a.outcome = 'released') as released
    from taskwire.tasks t where t.type = $1`
  for (;;) {
    const [row] = await db.run<{ started: number; failed: number; released: number }>({ name: `test_sorted`, text }, [
      type,
    ])
    if (row !== undefined && row.started >= COUNT && row.released >= COUNT - BOUND) return row
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

t.test('callbacks to a receiver that never answers delay neither tasks nor other callbacks', async (t) => {
  const tarpit = await startTarpit(t)
  let told = () => {}
  const called = new Promise<void>((resolve) => (told = resolve))
  const healthy = await serve(t, (_request, response) => {
    response.writeHead(204).end()
    told()
  })
  await createMany({ payload: { steps: 0 }, callbackUrl: `http://127.0.0.1:${tarpit.port}/hook` })
  await tarpit.holds(BOUND)
  t.match(await completes({ payload: { steps: 0 }, callbackUrl: `${healthy}/hook` }), { status: 'COMPLETED' })
  await called
  const { failed } = await untilSorted('webhook.deliver')
  t.ok(
    tarpit.taken <= BOUND + failed,
    `of ${COUNT} callbacks ${tarpit.taken} were in progress, and ${failed} attempts were spent`,
  )
  const [queues] = await db.run<{ queues: string; days: number }>(
    {
      name: 'test_callback_queue',
      text: `select string_agg(distinct queue, ',') as queues, round(min(extract(epoch from expires_at - created_at)) / 86400)::integer as days from taskwire.tasks where type = 'webhook.deliver'`,
    },
    [],
  )
  t.same(queues, { queues: 'webhook-deliver', days: 4 })
})

t.test('requests to a receiver that never answers delay neither tasks nor requests to others', async (t) => {
  const tarpit = await startTarpit(t)
  const healthy = await serve(t, (_request, response) => response.end('here'))
  await createMany({ type: 'http.request', payload: { url: `http://127.0.0.1:${tarpit.port}/`, timeoutMs: 60_000 } })
  await tarpit.holds(BOUND)
  t.match(await completes({ payload: { steps: 0 } }), { status: 'COMPLETED' })
  t.match(await completes({ type: 'http.request', payload: { url: healthy } }), {
    status: 'COMPLETED',
    result: { body: 'here' },
  })
  const { failed } = await untilSorted('http.request')
  t.ok(tarpit.taken <= BOUND + failed, `of ${COUNT} requests ${tarpit.taken} were in progress`)
})
