/** Callbacks, from the create with a `callbackUrl` to a real receiver that checks the signature. */
import { readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { openDatabase } from '../../src/db/open.js'
import { createWebhookDeliver, type CallbackMessage } from '../../src/handlers/webhook-deliver.js'
import type { Task } from '../../src/protocol/task.js'
import { runDefinition } from '../../src/testing/run-definition.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { spawnTaskwire } from '../helpers/processes.js'
import { startPostgres } from '../helpers/services.js'
import { createTask } from '../helpers/watch.js'
import { serve } from './serve.js'

const webhookSecret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

interface Received {
  id: string
  body: CallbackMessage
}

t.test('each end is reported once, signed, and retried while the receiver fails', async (t) => {
  const { address, databaseUrl } = await startApp(t, ['worker', 'relay'], { HTTP_REQUEST_ALLOW_PRIVATE: 'true' })
  const printed = spawnTaskwire(t, ['webhook-secret'], { env: { DATABASE_URL: databaseUrl } })
  await printed.exited
  const webhook = new Webhook(printed.stdout().trim())
  const received: Received[] = []
  let failures = 1
  const url = await serve(t, async (request, response) => {
    const body = await text(request)
    // Throws if the signature is invalid.
    const message = webhook.verify(body, request.headers as Record<string, string>) as Received['body']
    received.push({ id: String(request.headers['webhook-id']), body: message })
    response.statusCode = message.data.status === 'FAILED' && failures-- > 0 ? 503 : 204
    response.end()
  })
  const done = await createTask(address, { payload: { steps: 0 }, callbackUrl: `${url}/done` })
  const failed = await createTask(address, {
    payload: { steps: 1, stepMs: 1, failAt: 1 },
    callbackUrl: `${url}/failed`,
  })
  const cancelled = await createTask(address, { delayMs: 60_000, callbackUrl: `${url}/cancelled` })
  await fetch(`${address}/api/tasks/${cancelled.id}/cancel`, { method: 'POST' })
  const ofParent = async (id: string) =>
    ((await (await fetch(`${address}/api/tasks?parent=${id}`)).json()) as { items: Task[] }).items[0]
  const untilDelivered = async (id: string): Promise<Task> => {
    for (;;) {
      const delivery = await ofParent(id)
      if (delivery?.status === 'COMPLETED') return delivery
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const deliveries = await Promise.all([done, failed, cancelled].map(({ id }) => untilDelivered(id)))
  t.same(
    deliveries.map(({ type, attempt }) => `${type} ${attempt}`),
    ['webhook.deliver 1', 'webhook.deliver 2', 'webhook.deliver 1'],
  )
  const kinds = received.map(({ body: { type, data } }) => `${type} ${data.status}`).sort()
  t.same(kinds, ['task.cancelled CANCELLED', 'task.completed COMPLETED', 'task.failed FAILED', 'task.failed FAILED'])
  const [first, second] = received.filter(({ body }) => body.type === 'task.failed')
  t.equal(first?.id, second?.id, 'the receiver can recognize the repeated message')
  const log = (await (await fetch(`${address}/api/tasks/${deliveries[1]?.id}/attempts`)).json()) as { items: unknown[] }
  t.match(
    log.items,
    [{ outcome: 'failed', error: { message: 'the receiver answered with 503' } }, { outcome: 'completed' }],
    'the delivery log',
  )
})

t.test('the pauses between attempts grow to a day', async (t) => {
  const { backoff, attempts } = createWebhookDeliver({ allowPrivate: false })
  if (typeof backoff !== 'function') return t.fail('callbacks have their own schedule')
  const pauses = Array.from({ length: (attempts ?? 0) - 1 }, (_, index) => backoff(index + 1, undefined))
  t.ok(pauses.every((pause, index) => index === 0 || pause > (pauses[index - 1] ?? 0)))
  t.ok((pauses[0] ?? 0) < 6_000 && (pauses.at(-1) ?? 0) > 20 * 3_600_000)
})

t.test('only the server creates or edits a callback', async (t) => {
  const tasksDir = t.testdir({
    'forge.ts': `
      import { defineTask, Type } from 'taskwire'
      export const forge = defineTask({
        type: 'own.forge', title: 'Forge', description: 'Creates a task of the given type.',
        payload: Type.Object({ type: Type.String(), payload: Type.Unknown() }), result: Type.Unknown(), attempts: 1,
        run: ({ type, payload }, context) => context.create(type, payload),
      })`,
  })
  const { address, databaseUrl } = await startApp(t, ['worker', 'relay'], {
    TASKS_DIR: tasksDir,
    HTTP_REQUEST_ALLOW_PRIVATE: 'true',
  })
  const db = openDatabase(databaseUrl, { maxConnections: 1 })
  t.teardown(() => db.close())
  let calls = 0
  const url = await serve(t, (_request, response) => {
    calls += 1
    response.writeHead(503).end()
  })
  const send = async (method: string, path: string, body: object) => {
    const answer = await fetch(`${address}${path}`, {
      method,
      headers: { 'content-type': 'application/json', prefer: 'wait=60' },
      body: JSON.stringify(body),
    })
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
  const victim = await createTask(address, { payload: { steps: 0 } })
  const forged = { type: 'webhook.deliver', payload: { taskId: victim.id, url } }
  const refusal = { status: 422, body: { code: 'internal_type', fix: /callbackUrl/ } }
  t.match(await send('POST', '/api/tasks', forged), {
    ...refusal,
    body: { errors: [{ pointer: '/type', detail: /^"webhook\.deliver" is not one of demo\.sleep, (?!.*webhook)/ }] },
  })
  t.match(await send('POST', '/api/tasks', { type: 'webhook.deliver', payload: {} }), refusal, 'whatever its payload')
  t.match(await send('POST', '/api/tasks/batch', { tasks: [{}, forged] }), {
    ...refusal,
    body: { errors: [{ pointer: '/tasks/1/type' }] },
  })
  t.match(await send('POST', '/api/tasks', { queue: 'webhook-deliver', payload: { steps: 0 } }), {
    status: 422,
    body: { code: 'invalid_task', errors: [{ pointer: '/queue' }] },
  })
  t.match(await send('POST', '/api/tasks', { type: 'own.forge', payload: forged }), {
    body: {
      status: 'FAILED',
      failure: { message: /Only the server creates and edits tasks of the type "webhook\.deliver"/ },
    },
  })
  const inSql = (options: string) =>
    db.run({ name: `test_forge_${options.length}`, text: `select taskwire.create_task(${options})` }, [])
  await t.rejects(inSql(`type => 'webhook.deliver', payload => '{}'`), {
    message: /only the server makes tasks of type 'webhook\.deliver'/,
  })
  await t.rejects(inSql(`type => 'demo.sleep', queue => 'webhook-deliver'`), {
    message: /the queue 'webhook-deliver' is for callbacks only/,
  })

  const real = await createTask(address, { payload: { steps: 0 }, callbackUrl: `${url}/real` })
  const callback = await untilSome(
    async () => (await send('GET', `/api/tasks?parent=${real.id}`, undefined as never)).body['items'] as Task[],
    (task) => task.status === 'RETRYING',
  )
  t.match(await send('PATCH', `/api/tasks/${callback.id}`, { payload: { taskId: victim.id, url } }), refusal)
  t.match(await send('PATCH', `/api/tasks/${callback.id}`, { priority: 9 }), refusal)
  t.equal(calls, 1, 'only the real one was sent')

  const { items } = (await send('GET', '/api/types', undefined as never)).body as {
    items: { type: string; isInternal: boolean }[]
  }
  t.same(
    items.filter(({ isInternal }) => isInternal).map(({ type }) => type),
    ['webhook.deliver'],
  )
})

t.test('a callback that its task did not request is not sent', async (t) => {
  const db = await openTestDatabase(t, (await startPostgres(t)).url)
  const definition = createWebhookDeliver({ allowPrivate: true, secret: webhookSecret })
  const url = await serve(t, () => t.fail('it was sent'))
  const [silent = ''] = await storeTasks(db, 1)
  const [pending = ''] = await storeTasks(db, 1, { more: { callbackUrl: url } })
  const why = async (taskId: string) => {
    const run = await runDefinition(definition, { taskId, url }, { db })
    return run.status === 'FAILED' ? run.error.message : run.status
  }
  t.match(await why(silent), /does not have this URL as its callbackUrl/)
  t.match(await why(pending), /has not ended: it is PENDING/)
  t.match(await why('019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'), /no longer exists/)
})

t.test('the verifier in docs/tasks.md accepts each message once, and only its own', async (t) => {
  const [, code = ''] = /```js\n(import \{ Webhook \}[^]*?)```/.exec(await readFile('docs/tasks.md', 'utf8')) ?? []
  const folder = t.testdir({ 'verifier.mjs': code })
  const { readCallback } = (await import(`${folder}/verifier.mjs`)) as {
    readCallback: (secret: string, url: string, headers: Record<string, string>, body: string) => CallbackMessage | null
  }
  const { address } = await startApp(t, ['worker', 'relay'], {
    HTTP_REQUEST_ALLOW_PRIVATE: 'true',
    WEBHOOK_SECRET: webhookSecret,
  })
  const received: { headers: Record<string, string>; body: string }[] = []
  const origin = await serve(t, async (request, response) => {
    received.push({ headers: request.headers as Record<string, string>, body: await text(request) })
    response.writeHead(204).end()
  })
  const url = `${origin}/hook?a=1#b`
  const task = await createTask(address, { payload: { steps: 0 }, callbackUrl: url })
  const { headers, body } = await untilSome(
    async () => received,
    () => true,
  )
  const read = (changed: { url?: string; headers?: Record<string, string>; body?: string; secret?: string }) =>
    readCallback(
      changed.secret ?? webhookSecret,
      changed.url ?? url,
      { ...headers, ...changed.headers },
      changed.body ?? body,
    )

  t.throws(() => read({ url: `${origin}/other` }), { message: /another URL/ }, 'sent on to another URL')
  t.throws(() => read({ body: body.replace('COMPLETED', 'CANCELLED') }), { name: 'Error' }, 'an edited body')
  t.throws(
    () => read({ body: body.replace(task.id, '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10') }),
    { name: 'Error' },
    'another task',
  )
  t.throws(() => read({ headers: { 'webhook-id': 'msg_2' } }), { name: 'Error' }, 'under another id')
  t.throws(
    () => read({ headers: { 'webhook-timestamp': String(Number(headers['webhook-timestamp']) + 1) } }),
    { name: 'Error' },
    'at another time',
  )
  t.throws(
    () => read({ secret: `whsec_${Buffer.alloc(32, 8).toString('base64')}` }),
    { name: 'Error' },
    'by another server',
  )
  t.match(read({}), { type: 'task.completed', taskId: task.id, url, data: { id: task.id, status: 'COMPLETED' } })
  t.equal(read({}), null, 'a replay')

  const old = new Date(Date.now() - 6 * 60_000)
  const stale = {
    'webhook-id': 'msg_old',
    'webhook-timestamp': String(Math.floor(old.getTime() / 1_000)),
    'webhook-signature': new Webhook(webhookSecret).sign('msg_old', old, body),
  }
  t.throws(() => read({ headers: stale }), { name: 'Error' }, 'an old one, under an id that was not seen')
})

/** Polls until one of the items satisfies the condition. */
async function untilSome<Item>(ask: () => Promise<readonly Item[]>, isWanted: (item: Item) => boolean): Promise<Item> {
  for (;;) {
    const found = (await ask()).find(isWanted)
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
