/**
 * The response to a batch omits payloads and results, as a list does: together, the sent payloads and the contents of
 * existing tasks may be large.
 */
import t from 'tap'
import type { Batch } from '../../src/protocol/http.js'
import { startApp } from '../helpers/app.js'
import { createTask } from '../helpers/watch.js'

const { address } = await startApp(t)
const LATER = 86_400_000

async function post(tasks: object[], headers: Record<string, string> = {}) {
  const answer = await fetch(`${address}/api/tasks/batch`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ tasks }),
  })
  const text = await answer.text()
  return {
    status: answer.status,
    bytes: text.length,
    isReplayed: answer.headers.get('idempotent-replayed'),
    batch: JSON.parse(text) as Batch,
  }
}

const email = (index: number) => ({
  type: 'email.send',
  title: `mail ${index}`,
  delayMs: LATER,
  payload: { to: ['ada@example.com'], subject: 's', text: 'x'.repeat(20_000) },
})

t.test('the answer to a batch of large payloads contains none of them, and neither does its replay', async (t) => {
  const tasks = Array.from({ length: 100 }, (_, index) => email(index))
  const first = await post(tasks, { 'idempotency-key': 'large' })
  t.equal(first.status, 202)
  t.ok(first.bytes < 200_000, `${first.bytes} bytes for 2 MB of payloads`)
  t.same(
    first.batch.items.map(({ title }) => title),
    tasks.map(({ title }) => title),
    'in the order of the request',
  )
  for (const item of first.batch.items) t.notOk('payload' in item || 'result' in item)
  const second = await post(tasks, { 'idempotency-key': 'large' })
  t.match(second, { status: 202, isReplayed: 'true' })
  t.same(second.batch, first.batch)
  const [item] = first.batch.items
  t.match(
    await (await fetch(`${address}${item?.links.self}`)).json(),
    { payload: { subject: 's' } },
    'the task itself has its payload',
  )
})

t.test(
  'existing tasks with unique keys are returned without payloads in a batch, and with them in a single create',
  async (t) => {
    const unique = (index: number) => ({ ...email(index), uniqueKey: `unique ${index}` })
    const known = await Promise.all([0, 1, 2].map((index) => createTask(address, unique(index))))
    const { status, bytes, batch } = await post([unique(0), unique(1), email(9), unique(2)])
    t.equal(status, 202)
    t.ok(bytes < 10_000, `${bytes} bytes`)
    t.same(
      [0, 1, 3].map((index) => batch.items[index]?.id),
      known.map(({ id }) => id),
    )
    const single = await fetch(`${address}/api/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(unique(1)),
    })
    t.equal(single.headers.get('existing-task'), 'true')
    t.match(await single.json(), { id: known[1]?.id, payload: { subject: 's' } })
  },
)

t.test('a single create with both keys is replayed completely', async (t) => {
  const create = () =>
    fetch(`${address}/api/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'both' },
      body: JSON.stringify({ payload: { steps: 7 }, delayMs: LATER, uniqueKey: 'both' }),
    })
  const [first, second] = [await create(), await create()]
  t.equal(second.headers.get('idempotent-replayed'), 'true')
  t.match(await first.json(), { payload: { steps: 7 } })
  t.match(await second.json(), { payload: { steps: 7 } })
})
