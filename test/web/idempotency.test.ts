/** `Idempotency-Key` and `Prefer: handling=strict` on real services, with requests to several web processes. */
import { createHash, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { pino } from 'pino'
import t from 'tap'
import { loadConfig } from '../../src/config.js'
import { deleteExpiredKeys } from '../../src/store/tasks/create-once.js'
import { fingerprintOf, fingerprintOfBatch, readIdempotencyKey } from '../../src/web/idempotency.js'
import { readPreferences } from '../../src/web/preferences.js'
import { startWeb } from '../../src/web/web.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase } from '../helpers/database.js'

const app = await startApp(t, ['worker', 'relay'])
const db = await openTestDatabase(t, app.databaseUrl)
const other = await startWeb(
  loadConfig('web', { DATABASE_URL: app.databaseUrl, REDIS_URL: app.redis?.url, PORT: '0' }),
  pino({ level: 'silent' }),
)
t.teardown(() => other.stop())

async function post(body: unknown, headers: Record<string, string>, address = app.address) {
  const answer = await fetch(`${address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return {
    status: answer.status,
    isReplayed: answer.headers.get('idempotent-replayed') === 'true',
    location: answer.headers.get('location'),
    body: (await answer.json()) as Record<string, unknown>,
  }
}

async function count(sql: string, parameters: string[] = []): Promise<number> {
  const [row] = await db.run<{ count: number }>(
    { name: `test_${fingerprintOf(sql).slice(0, 20)}`, text: `select count(*)::integer as count from ${sql}` },
    parameters,
  )
  return row?.count ?? -1
}

const quoted = (key: string) => ({ 'idempotency-key': `"${key}"` })

t.test('a repeated request receives the first answer, even if the task has moved on', async (t) => {
  const key = randomUUID()
  const body = { title: 'once', payload: { steps: 0 }, tags: ['x'] }
  const first = await post(body, quoted(key))
  t.equal(first.status, 202)
  t.notOk(first.isReplayed)
  const id = String(first.body['id'])
  await fetch(`${app.address}/api/tasks/${id}?wait=10`)
  const again = await post({ tags: ['x'], payload: { steps: 0 }, title: 'once' }, { 'idempotency-key': key })
  t.ok(again.isReplayed)
  t.same({ ...again, isReplayed: false }, first, 'the order of the fields and the quotes do not count')
  const waiting = await post(body, { ...quoted(key), prefer: 'wait=10' })
  t.match(waiting, { status: 200, isReplayed: true, body: { id, status: 'COMPLETED' } })

  const later = await post({ delayMs: 600_000 }, quoted(`${key} later`))
  t.match(later.body, { status: 'SCHEDULED' })
  t.same((await post({ delayMs: 600_000 }, quoted(`${key} later`))).body, later.body)
})

t.test('the same key with another body is refused, and nothing is stored', async (t) => {
  const key = randomUUID()
  await post({ title: 'a' }, quoted(key))
  const before = await count('taskwire.tasks')
  const refused = await post({ title: 'b' }, quoted(key))
  t.equal(refused.status, 422)
  t.match(refused.body, { code: 'key_reused', errors: [{ pointer: '/idempotency-key' }] })
  t.equal(await count('taskwire.tasks'), before)
})

t.test('a refused request leaves its key free', async (t) => {
  const key = randomUUID()
  t.equal((await post({ type: 'no.such' }, quoted(key))).status, 422)
  t.equal((await post({ title: 'mended' }, quoted(key))).status, 202)
})

t.test('50 concurrent requests to two processes create one task', async (t) => {
  for (let round = 0; round < 5; round += 1) {
    const key = randomUUID()
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        post({ title: key }, quoted(key), index % 2 === 0 ? app.address : other.address),
      ),
    )
    t.same(new Set(answers.map(({ status }) => status)), new Set([202]))
    t.equal(new Set(answers.map(({ body }) => JSON.stringify(body))).size, 1, 'all have the same answer')
    t.equal(answers.filter(({ isReplayed }) => !isReplayed).length, 1)
    t.equal(await count('taskwire.tasks where title = $1', [key]), 1)
  }
})

t.test('of two concurrent bodies with one key, one wins and the other is refused', async (t) => {
  const key = randomUUID()
  const answers = await Promise.all(
    ['a', 'b'].map((title, index) =>
      post({ title: `${key} ${title}` }, quoted(key), index === 0 ? app.address : other.address),
    ),
  )
  t.same(answers.map(({ status }) => status).sort(), [202, 422])
  t.equal(await count('taskwire.tasks where title like $1', [`${key}%`]), 1)
})

t.test('an expired key is free, and pruned', async (t) => {
  const key = randomUUID()
  const first = await post({ title: 'old' }, quoted(key))
  await db.run(
    {
      name: 'test_expire',
      text: `update taskwire.idempotency_keys set expires_at = now() - interval '1 s' where key = $1`,
    },
    [key],
  )
  const second = await post({ title: 'new' }, quoted(key))
  t.equal(second.status, 202)
  t.not(second.body['id'], first.body['id'])
  await db.run(
    {
      name: 'test_expire',
      text: `update taskwire.idempotency_keys set expires_at = now() - interval '1 s' where key = $1`,
    },
    [key],
  )
  t.equal(await deleteExpiredKeys(db, 10), 1)
  t.equal(await deleteExpiredKeys(db, 10), 0)
})

t.test('a malformed key is refused by name', async (t) => {
  for (const key of ['""', '"half', 'two words', '"ä"', `"${'x'.repeat(256)}"`]) {
    const refused = await post({}, { 'idempotency-key': Buffer.from(key).toString('latin1') })
    t.equal(refused.status, 400, key)
    t.match(refused.body, { code: 'invalid_request', errors: [{ pointer: '/idempotency-key' }] })
  }
  t.equal(readIdempotencyKey('"a \\"b\\" \\\\"'), 'a "b" \\')
  t.equal(readIdempotencyKey(undefined), undefined)
})

t.test(
  'a fingerprint is computed from the body with sorted fields, as in earlier versions, for batches too',
  async (t) => {
    const sortFields = (_: string, value: unknown): unknown =>
      typeof value !== 'object' || value === null || Array.isArray(value)
        ? value
        : Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
    const stored = (body: unknown) => createHash('sha256').update(JSON.stringify(body, sortFields)).digest('base64url')
    const name = fc.oneof(
      fc.string(),
      fc.nat().map(String),
      fc.constantFrom('4294967294', '4294967295', '00', '-1', '\ud800'),
    )
    const value = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(name, fc.oneof(fc.jsonValue(), fc.dictionary(name, fc.jsonValue()))),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(value.map((one) => JSON.parse(JSON.stringify(one)) as unknown)), async (tasks) => {
        t.equal(fingerprintOf(tasks), stored(tasks))
        t.equal(await fingerprintOfBatch({ tasks }), stored({ tasks }))
      }),
      { numRuns: 300 },
    )
  },
)

t.test('a body that is nested very deeply is refused with a key as without one', async (t) => {
  const deep = (depth: number) => `{"payload":${'['.repeat(depth)}${']'.repeat(depth)}}`
  for (const depth of [40, 100, 2_500, 5_000, 120_000]) {
    for (const headers of [{}, quoted(randomUUID())]) {
      const answer = await fetch(`${app.address}/api/tasks`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: deep(depth),
      })
      t.equal(answer.status, 422, `${depth} deep`)
      t.match(await answer.json(), { code: depth > 64 ? 'too_complex' : 'invalid_task', detail: /nested/ })
    }
  }
})

t.test('preferences are read according to RFC 7240', async (t) => {
  t.same(readPreferences('wait=10, handling=strict'), { waitSeconds: 10, isStrict: true })
  t.same(readPreferences('respond-async; x=y, Wait="99999"'), { waitSeconds: 60, isStrict: false })
  t.same(readPreferences('handling=lenient, wait=soon, ,'), { waitSeconds: 0, isStrict: false })
})

t.test(
  'while the broker is away, a strict create stores nothing; any other is stored and runs later',
  { skip: !app.redis && 'there is no redis-server' },
  async (t) => {
    t.match(await post({}, { prefer: 'handling=strict' }), { status: 202 })
    const before = await count('taskwire.tasks')
    await app.redis?.pause()
    const refused = await post({}, { prefer: 'handling=strict' })
    t.match(refused, { status: 503, body: { code: 'broker_unavailable' } })
    t.equal(await count('taskwire.tasks'), before)
    const accepted = await post({ payload: { steps: 0 } }, {})
    t.equal(accepted.status, 202)
    await app.redis?.resume()
    const ended = await fetch(`${app.address}/api/tasks/${String(accepted.body['id'])}?wait=30`)
    t.match(await ended.json(), { status: 'COMPLETED' })
  },
)
