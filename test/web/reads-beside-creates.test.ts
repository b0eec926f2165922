/** Expensive reads during creates: each create is accepted, whatever other clients read. */
import { once } from 'node:events'
import t from 'tap'
import { WebSocket } from 'ws'
import type { SocketAnswer } from '../../src/protocol/subscription.js'
import { createFairTurns } from '../../src/web/fair-turns.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase } from '../helpers/database.js'
import { atDepth } from '../helpers/depth.js'

// Allows for the full counts on a slow machine.
t.setTimeout(900_000)

const TASKS = atDepth(60_000, 200_000)
const SUBSCRIPTIONS = 49
const CREATES = 60

const app = await startApp(t, [], { DATABASE_POOL_SIZE: '2', DATABASE_READ_POOL_SIZE: '2' })
const db = await openTestDatabase(t, app.databaseUrl)
await db.run(
  {
    name: 'test_fill',
    forceCustomPlan: true,
    deadlineMs: 600_000,
    text: `
  insert into taskwire.tasks (id, type, title, tags, status, payload)
  select ('019aa3f2-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, 'common.type', 'a title', '{common}', 'COMPLETED', '{}'
  from generate_series(1, ${TASKS}) i`,
  },
  [],
)

async function subscribe(selection: (index: number) => object): Promise<SocketAnswer[]> {
  const socket = new WebSocket(`${app.address.replace('http', 'ws')}/ws/tasks`)
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  const answers: SocketAnswer[] = []
  const all = new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer) => {
      const message = JSON.parse(data.toString()) as SocketAnswer
      if ('id' in message) answers.push(message)
      if (answers.length === SUBSCRIPTIONS) resolve()
    })
  })
  for (let index = 0; index < SUBSCRIPTIONS; index += 1)
    socket.send(JSON.stringify({ type: 'subscribe', id: `${index}`, selection: selection(index) }))
  await all
  return answers
}

async function create(): Promise<number> {
  const { status } = await fetch(`${app.address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"delayMs":3600000}',
  })
  return status
}

function gate() {
  let open = () => {}
  const promise = new Promise<void>((resolve) => (open = resolve))
  return { promise, open }
}

const createAll = () => Promise.all(Array.from({ length: CREATES }, create))

t.test('every create is accepted while one socket has 49 subscriptions that no task matches', async (t) => {
  const never = await subscribe((index) => ({ tag: `never-${index}` }))
  t.same(
    never.map(({ type }) => type),
    Array.from({ length: SUBSCRIPTIONS }, () => 'subscribed'),
  )
  t.same(
    await createAll(),
    Array.from({ length: CREATES }, () => 202),
  )
})

t.test('every create is accepted, and other lists are answered, while sockets scan all tasks', async (t) => {
  // No index serves these filters: each lookup scans all tasks of the tag.
  const subscribing = Promise.all(
    [1, 2].map((client) =>
      subscribe((index) => ({
        tag: 'common',
        type: 'common.type',
        status: index % 2 === 0 ? 'WAITING' : 'SCHEDULED',
        ...(client === 2 && { batch: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10' }),
      })),
    ),
  )
  const walks = Promise.all(
    Array.from({ length: 8 }, async () => (await fetch(`${app.address}/api/tasks?q=never`)).status),
  )
  t.same(
    await createAll(),
    Array.from({ length: CREATES }, () => 202),
  )
  t.equal((await fetch(`${app.address}/readyz`)).status, 200)
  t.ok((await walks).every((status) => status === 200 || status === 503))
  t.ok((await subscribing).flat().every(({ type }) => type === 'subscribed' || type === 'refused'))
  t.same(
    await createAll(),
    Array.from({ length: CREATES }, () => 202),
    'while the sockets poll every second',
  )
})

t.test(
  'a create needs none of the connections that reads occupy, even if PostgreSQL answers none of them',
  async (t) => {
    // A list of running tasks waits for this lock; a create does not touch leases.
    let release = () => {}
    const locked = new Promise<void>((resolve, reject) => {
      const held = new Promise<void>((free) => (release = free))
      db.transaction(async (transaction) => {
        await transaction.orm.execute('lock table taskwire.leases in access exclusive mode')
        resolve()
        await held
      }).catch(reject)
    })
    await locked
    const reads = Array.from(
      { length: 20 },
      async () => (await fetch(`${app.address}/api/tasks?status=PROCESSING`)).status,
    )
    t.same(
      await createAll(),
      Array.from({ length: CREATES }, () => 202),
    )
    release()
    t.ok((await Promise.all(reads)).every((status) => status === 200 || status === 503))
  },
)

t.test('clients take turns, and a busy client delays only itself', async (t) => {
  const { promise, open } = gate()
  const turns = createFairTurns({ maxUnderWay: 1 })
  const order: string[] = []
  const first = turns.take('a', () => promise)
  const others = [
    ...Array.from({ length: 5 }, (_, index) => ['a', `a${index}`]),
    ['b', 'b0'],
    ['c', 'c0'],
    ['b', 'b1'],
  ].map(([client, name = '']) => turns.take(client, async () => void order.push(name)))
  open()
  await Promise.all([first, ...others])
  t.same(order, ['a0', 'b0', 'c0', 'a1', 'b1', 'a2', 'a3', 'a4'])
})

t.test(
  'a failure passes the turn on; calls that wait too long are refused, and so are too many waiting calls',
  async (t) => {
    const failing = createFairTurns({ maxUnderWay: 1 })
    await t.rejects(
      failing.take('a', () => Promise.reject(new Error('no'))),
      { message: 'no' },
    )
    t.equal(await failing.take('a', async () => 1), 1)

    const first = gate()
    const full = createFairTurns({ maxUnderWay: 1, maxWaiting: 1 })
    const running = full.take('a', () => first.promise)
    const second = full.take('b', async () => 2)
    await t.rejects(
      full.take('c', async () => 3),
      { code: 'busy' },
    )
    first.open()
    await running
    t.equal(await second, 2)

    const late = createFairTurns({ maxUnderWay: 1, maxWaitMs: -1 })
    const next = gate()
    const slow = late.take('a', () => next.promise)
    const refused = late.take('b', async () => 4)
    next.open()
    await slow
    await t.rejects(refused, { code: 'busy' })
    t.equal(await late.take('b', async () => 5), 5, 'the turn is free again')
  },
)
