/** The routes with which people set what holds tasks back. */
import t from 'tap'
import type { Limit, Pause } from '../../src/protocol/release.js'
import { startApp } from '../helpers/app.js'
import { createTaskId } from '../../src/tasks/create/task-id.js'
import { createTask } from '../helpers/watch.js'

const { address } = await startApp(t, [], { QUEUES: 'reports' })

async function call(method: string, path: string, body?: unknown) {
  const answer = await fetch(address + path, {
    method,
    ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  const text = await answer.text()
  return { status: answer.status, body: (text === '' ? undefined : JSON.parse(text)) as Record<string, unknown> }
}
const list = async <Item>(path: string) => (await call('GET', path)).body['items'] as Item[]

t.test('a limit is set, replaced, listed and deleted', async (t) => {
  const first = await call('PUT', '/api/limits/mail', { types: ['email.send'], concurrency: 5, reason: 'small server' })
  t.equal(first.status, 200)
  t.match(first.body, {
    ...{ name: 'mail', types: ['email.send'], queue: null, tenant: null, per: 'all', concurrency: 5, rate: null },
    ...{ source: 'api', setBy: 'anonymous', setAt: /Z$/, reason: 'small server', whenOver: 'delay' },
    use: [{ tenant: null, key: null, running: 0, left: 5 }],
  })
  const rate = { limit: 100, periodMs: 60_000, burst: 10 }
  t.match(await call('PUT', '/api/limits/mail', { queue: 'reports', per: 'key', rate, whenOver: 'skip' }), {
    status: 200,
    body: {
      types: null,
      queue: 'reports',
      per: 'key',
      concurrency: null,
      rate,
      whenOver: 'skip',
      reason: null,
      use: [],
    },
  })
  t.match(await list<Limit>('/api/limits'), [{ name: 'mail', rate }])
  t.match(await call('DELETE', '/api/limits/mail'), { status: 204 })
  t.match(await call('DELETE', '/api/limits/mail'), { status: 404, body: { code: 'not_found' } })
  t.same(await list('/api/limits'), [])
})

const RATE = { limit: 1, periodMs: 1_000 }
const WRONG_LIMITS: [what: string, path: string, body: unknown, status: number, pointer: string][] = [
  ['neither concurrency nor rate', 'x', {}, 422, '/concurrency'],
  ['both', 'x', { concurrency: 1, rate: RATE }, 422, '/rate'],
  ['whenOver without a rate', 'x', { concurrency: 1, whenOver: 'skip' }, 422, '/whenOver'],
  ['an unknown type', 'x', { types: ['email.send', 'email.sned'], concurrency: 1 }, 422, '/types/1'],
  ['an unknown queue', 'x', { queue: 'nowhere', concurrency: 1 }, 422, '/queue'],
  ['a reserved name', 'resume-x', { concurrency: 1 }, 422, '/name'],
  ['a malformed name', 'A%20b', { concurrency: 1 }, 400, '/name'],
  ['no types', 'x', { types: [], concurrency: 1 }, 400, '/types'],
  ['a concurrency of 0', 'x', { concurrency: 0 }, 400, '/concurrency'],
  ['a fraction', 'x', { concurrency: 1.5 }, 400, '/concurrency'],
  ['a burst of 0', 'x', { rate: { ...RATE, burst: 0 } }, 400, '/rate/burst'],
  ['a rate without a period', 'x', { rate: { limit: 1 } }, 400, '/rate/periodMs'],
  ['a rate of zero length', 'x', { rate: { limit: 1, periodMs: 0 } }, 400, '/rate/periodMs'],
  ['an unknown count', 'x', { per: 'queue', concurrency: 1 }, 400, '/per'],
  ['an unknown field', 'x', { concurency: 1 }, 400, '/concurency'],
  ['NUL in a reason', 'x', { concurrency: 1, reason: 'a\0b' }, 400, '/reason'],
  ['NUL in a tenant', 'x', { concurrency: 1, tenant: 'a\0b' }, 400, '/tenant'],
  ['half an emoji in a reason', 'x', { concurrency: 1, reason: 'a\ud83d' }, 400, '/reason'],
  ['half an emoji in a tenant', 'x', { concurrency: 1, tenant: 'a\ud83d' }, 400, '/tenant'],
]

t.test('a wrong limit is refused with the field and a fix, and nothing is set', async (t) => {
  for (const [what, name, body, status, pointer] of WRONG_LIMITS) {
    const answer = await call('PUT', `/api/limits/${name}`, body)
    t.equal(answer.status, status, what)
    const errors = answer.body['errors'] as { pointer: string; detail: string }[]
    t.ok(
      errors.some((error) => error.pointer === pointer && error.detail.length > 0),
      `${what}: ${JSON.stringify(answer.body)}`,
    )
  }
  const unknown = await call('PUT', '/api/limits/x', { types: ['email.sned'], concurrency: 1 })
  t.match(JSON.stringify(unknown.body), /is not one of .*email\.send/, 'it names the known ones')
  t.same(await list('/api/limits'), [])
})

t.test('a pause of each kind is set, replaced, listed and ended', async (t) => {
  const until = new Date(Date.now() + 3_600_000).toISOString()
  for (const [kind, name] of [
    ['queue', 'reports'],
    ['type', 'email.send'],
    ['tenant', 'any one'],
    ['key', 'a key/with % and ü'],
  ]) {
    const path = `/api/pauses/${kind}/${encodeURIComponent(name ?? '')}`
    t.match(await call('PUT', path), { status: 200, body: { kind, name, reason: null, until: null } })
    t.match(await call('PUT', path, { reason: 'r', until }), { status: 200, body: { reason: 'r', until } })
    t.match(await list<Pause>('/api/pauses'), [{ kind, name, reason: 'r', until, setBy: 'anonymous', setAt: /Z$/ }])
    t.match(await call('DELETE', path), { status: 204 })
    t.match(await call('DELETE', path), { status: 404, body: { code: 'not_found' } })
  }
  t.same(await list('/api/pauses'), [])
  t.equal((await call('PUT', `/api/pauses/key/${encodeURIComponent('\u{1f600}'.repeat(100))}`)).status, 200)
  t.equal((await call('DELETE', `/api/pauses/key/${encodeURIComponent('\u{1f600}'.repeat(100))}`)).status, 204)
})

t.test('a wrong pause is refused with the field and a fix', async (t) => {
  const wrong: [path: string, body: unknown, status: number, pointer: string][] = [
    ['queue/nowhere', null, 422, '/name'],
    ['type/email.sned', null, 422, '/name'],
    ['worker/x', null, 400, '/kind'],
    ['key/a%00b', null, 400, '/name'],
    [`key/${'x'.repeat(201)}`, null, 400, '/name'],
    ['queue/reports', { until: '2020-01-01T00:00:00Z' }, 422, '/until'],
    ['queue/reports', { until: 'tomorrow' }, 400, '/until'],
    ['queue/reports', { until: '0000-01-01T00:00:00Z' }, 422, '/until'],
    ['queue/reports', { until: '9999-12-31T23:59:59.999Z' }, 422, '/until'],
    ['queue/reports', { reason: 'a\ude00' }, 400, '/reason'],
    ['queue/reports', { untill: '2030-01-01T00:00:00Z' }, 400, '/untill'],
    ['queue/reports', { reason: '' }, 400, '/reason'],
  ]
  for (const [path, body, status, pointer] of wrong) {
    const answer = await call('PUT', `/api/pauses/${path}`, body)
    t.equal(answer.status, status, `${path} ${JSON.stringify(body)} ${JSON.stringify(answer.body)}`)
    t.match(answer.body['errors'], [{ pointer, detail: String }], path)
  }
  t.same(await list('/api/pauses'), [])
})

t.test('a key that a URL cannot name is refused, in words', async (t) => {
  for (const field of ['concurrencyKey', 'sequenceKey'])
    for (const key of ['.', '..', 'a\0b', 'a\ud83d']) {
      const answer = await call('POST', '/api/tasks', { type: 'report.generate', payload: {}, [field]: key })
      t.match(answer, {
        status: 400,
        body: { errors: [{ pointer: `/${field}`, detail: /^is "\." or "\.\.", or contains U\+0000/ }] },
      })
    }
})

t.test('text that cannot be stored is refused wherever people send it', async (t) => {
  const bodies: [method: string, path: string, pointer: string, body: object][] = [
    ['PUT', '/api/weights/tenant/gold', '/reason', { weight: 2, reason: 'a\ud83d' }],
    ['POST', `/api/workers/${'0'.repeat(8)}/drain`, '/reason', { reason: 'a\ud83d' }],
    ['POST', `/api/tasks/${createTaskId()}/cancel`, '/reason', { reason: 'a\ud83d' }],
  ]
  for (const [method, path, pointer, body] of bodies)
    t.match(await call(method, path, body), {
      status: 400,
      body: { errors: [{ pointer, detail: /half of a surrogate pair/ }] },
    })
})

t.test('weights of tenants and keys', async (t) => {
  t.match(await call('PUT', '/api/weights/tenant/gold', { weight: 2.5, reason: 'paid' }), {
    status: 200,
    body: { tenant: 'gold', key: null, weight: 2.5, reason: 'paid', setBy: 'anonymous' },
  })
  t.match(await call('PUT', '/api/weights/key/big', { weight: 0.5 }), {
    status: 200,
    body: { tenant: 'default', key: 'big', weight: 0.5 },
  })
  t.equal((await list('/api/weights')).length, 2)
  for (const weight of [0, -1, 1_001, '2', null])
    t.match(await call('PUT', '/api/weights/tenant/gold', { weight }), {
      status: 400,
      body: { errors: [{ pointer: '/weight' }] },
    })
  t.match(await call('DELETE', '/api/weights/tenant/gold'), { status: 204 })
  t.match(await call('DELETE', '/api/weights/key/big'), { status: 204 })
  t.match(await call('DELETE', '/api/weights/key/big'), { status: 404 })
})

t.test('a task shows its keys, what its failure does to its sequence, and its cost, wherever it is read', async (t) => {
  const later = { delayMs: 86_400_000, type: 'report.generate', payload: {} }
  const shapes = [
    [{}, { concurrencyKey: null, sequenceKey: null, onFailure: null, cost: 1 }],
    [{ cost: 7 }, { sequenceKey: null, onFailure: null, cost: 7 }],
    [{ sequenceKey: 'shown' }, { sequenceKey: 'shown', onFailure: 'halt', cost: 1 }],
    [
      { sequenceKey: 'shown', onFailure: 'skip', cost: 2 },
      { sequenceKey: 'shown', onFailure: 'skip', cost: 2 },
    ],
  ] as const
  for (const [fields, shown] of shapes) {
    const created = await call('POST', '/api/tasks', { ...later, ...fields })
    t.match(created, { status: 202, body: shown })
    const id = String(created.body['id'])
    t.match(await call('GET', `/api/tasks/${id}`), { status: 200, body: shown })
    t.match(await call('POST', '/api/tasks/batch', { tasks: [{ ...later, ...fields }] }), { body: { items: [shown] } })
    const { items } = (await call('GET', '/api/tasks?limit=2')).body as { items: { id: string }[] }
    t.match(
      items.find((task) => task.id === id),
      shown,
    )
  }
})

t.test('a sequence that is not halted cannot be resumed', async (t) => {
  await createTask(address, { sequenceKey: 's', delayMs: 86_400_000 })
  t.same(await list('/api/sequences'), [])
  t.match(await call('POST', '/api/sequences/s/resume'), { status: 404, body: { detail: /No sequence/ } })
})
