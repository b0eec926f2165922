import { request } from 'node:http'
import t from 'tap'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { Problem } from '../../src/protocol/errors.js'
import { Task } from '../../src/protocol/task.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase } from '../helpers/database.js'

const app = await startApp(t)
const db = await openTestDatabase(t, app.databaseUrl)
const url = `${app.address}/api/tasks`

async function countTasks(): Promise<number> {
  const rows = await db.run<{ count: number }>(
    { name: 'test_count', text: 'select count(*)::integer as count from taskwire.tasks' },
    [],
  )
  return rows[0]?.count ?? -1
}

async function post(body: unknown, contentType = 'application/json') {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': contentType },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { answer, body: (await answer.json()) as Record<string, unknown> }
}

t.test('a title alone is a valid task', async (t) => {
  const { answer, body } = await post({ title: 'example task' })
  t.equal(answer.status, 202)
  t.match(body, {
    title: 'example task',
    type: 'demo.sleep',
    status: 'PENDING',
    version: 1,
    attempt: 0,
    priority: 0,
    payload: { steps: 5, stepMs: 300 },
  })
  t.same(createChecker(Task).check(body), [])
  t.equal(answer.headers.get('location'), `/api/tasks/${String(body['id'])}`)
  const stored = await fetch(app.address + String(answer.headers.get('location')))
  t.match(await stored.json(), { id: body['id'], createdAt: body['createdAt'], payload: body['payload'] })
})

t.test('an empty object is a valid task; trailing slashes are tolerated', async (t) => {
  t.match((await post({})).body, { title: 'demo.sleep', type: 'demo.sleep' })
  const answer = await fetch(`${url}/`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })
  t.equal(answer.status, 202)
})

t.test('every field that a client may set is stored', async (t) => {
  const runAt = new Date(Date.now() + 3_600_000).toISOString()
  const { body } = await post({
    title: 'Ünï 🎉 <b>',
    type: 'demo.sleep',
    payload: { steps: 1, stepMs: 5 },
    priority: 9,
    tags: ['a', 'b'],
    runAt,
  })
  t.match(body, {
    title: 'Ünï 🎉 <b>',
    payload: { steps: 1, stepMs: 5 },
    priority: 9,
    tags: ['a', 'b'],
    status: 'SCHEDULED',
    runAt,
  })
})

const refusals: {
  name: string
  body: unknown
  contentType?: string
  status: number
  code: string
  pointer?: string
}[] = [
  { name: 'an unknown type', body: { type: 'no.such' }, status: 422, code: 'unknown_type', pointer: '/type' },
  { name: 'a malformed type', body: { type: 'No Such!' }, status: 400, code: 'invalid_request', pointer: '/type' },
  {
    name: 'a payload of the wrong kind',
    body: { payload: { steps: 'five' } },
    status: 422,
    code: 'invalid_payload',
    pointer: '/payload/steps',
  },
  {
    name: 'a payload out of bounds',
    body: { payload: { steps: -1 } },
    status: 422,
    code: 'invalid_payload',
    pointer: '/payload/steps',
  },
  {
    name: 'an unknown payload field',
    body: { payload: { stepz: 1 } },
    status: 422,
    code: 'invalid_payload',
    pointer: '/payload/stepz',
  },
  {
    name: 'a payload that is not an object',
    body: { payload: [] },
    status: 422,
    code: 'invalid_payload',
    pointer: '/payload',
  },
  {
    name: 'too long a title',
    body: { title: 'x'.repeat(201) },
    status: 400,
    code: 'invalid_request',
    pointer: '/title',
  },
  { name: 'an empty title', body: { title: '' }, status: 400, code: 'invalid_request', pointer: '/title' },
  { name: 'a title of the wrong kind', body: { title: 5 }, status: 400, code: 'invalid_request', pointer: '/title' },
  {
    name: 'a field that clients may not set',
    body: { status: 'COMPLETED' },
    status: 400,
    code: 'invalid_request',
    pointer: '/status',
  },
  {
    name: 'a field that does not exist',
    body: { titel: 'x' },
    status: 400,
    code: 'invalid_request',
    pointer: '/titel',
  },
  {
    name: 'both runAt and delayMs',
    body: { runAt: '2030-01-01T00:00:00Z', delayMs: 5 },
    status: 422,
    code: 'invalid_task',
    pointer: '/delayMs',
  },
  { name: 'an invalid time', body: { runAt: 'tomorrow' }, status: 400, code: 'invalid_request', pointer: '/runAt' },
  {
    name: 'a time in the year 0',
    body: { runAt: '0000-01-01T00:00:00Z' },
    status: 422,
    code: 'invalid_task',
    pointer: '/runAt',
  },
  {
    name: 'a time before the year 0 in UTC',
    body: { runAt: '0000-01-01T00:00:00+23:59' },
    status: 422,
    code: 'invalid_task',
    pointer: '/runAt',
  },
  {
    name: 'a time after the year 9999 in UTC',
    body: { expiresAt: '9999-12-31T23:59:59-23:59' },
    status: 422,
    code: 'invalid_task',
    pointer: '/expiresAt',
  },
  {
    name: 'text that cannot be stored',
    body: '{"title":"a\\u0000b"}',
    status: 422,
    code: 'invalid_task',
    pointer: '/title',
  },
  { name: 'half a surrogate pair', body: '{"title":"\\ud800"}', status: 422, code: 'invalid_task', pointer: '/title' },
  {
    name: 'too deep a body',
    body: `{"payload":${'['.repeat(40)}${']'.repeat(40)}}`,
    status: 422,
    code: 'invalid_task',
  },
  {
    name: 'too large a body',
    body: { title: 'x', payload: { text: 'x'.repeat(300_000) } },
    status: 413,
    code: 'body_too_large',
  },
  {
    name: 'the wrong content type',
    body: '{}',
    contentType: 'text/plain',
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'a form',
    body: 'title=x',
    contentType: 'application/x-www-form-urlencoded',
    status: 415,
    code: 'unsupported_media_type',
  },
  {
    name: 'an invalid header name',
    body: { type: 'http.request', payload: { url: 'https://example.com', headers: { 'a b': 'c' } } },
    status: 422,
    code: 'invalid_payload',
    pointer: '/payload/headers/a b',
  },
  { name: 'broken JSON', body: '{"title": ', status: 400, code: 'invalid_json' },
  { name: 'no body', body: '', status: 400, code: 'invalid_json' },
  { name: 'JSON that is not an object', body: '"text"', status: 400, code: 'invalid_request' },
  { name: 'null', body: 'null', status: 400, code: 'invalid_request' },
  { name: 'a poisoned prototype', body: '{"__proto__":{"x":1}}', status: 400, code: 'invalid_json' },
  {
    name: 'a poisoned constructor',
    body: '{"payload":{"constructor":{"prototype":{"x":1}}}}',
    status: 400,
    code: 'invalid_json',
  },
]

t.test('an invalid task is refused with the field named, and nothing is stored', async (t) => {
  const before = await countTasks()
  const checker = createChecker(Problem)
  for (const { name, body, contentType, status, code, pointer } of refusals) {
    const { answer, body: problem } = await post(body, contentType)
    t.equal(answer.status, status, name)
    t.match(answer.headers.get('content-type'), /^application\/problem\+json/)
    t.same(checker.check(problem), [])
    t.match(problem, { code, status, fix: /\w/, detail: /\w/ }, name)
    if (pointer !== undefined) t.match(problem['errors'], [{ pointer, detail: /\w/ }], `${name} is named`)
  }
  t.equal(await countTasks(), before)
})

t.test('compressed bodies and uploads are refused, and nothing is stored', async (t) => {
  const before = await countTasks()
  for (const headers of [
    { 'content-encoding': 'gzip' },
    { 'content-encoding': 'BR' },
    { 'content-encoding': 'identity, gzip' },
    { 'transfer-encoding': 'gzip, chunked' },
  ]) {
    for (const [path, type] of [
      ['/api/tasks', 'application/json'],
      ['/api/uploads', 'text/plain'],
    ] as const) {
      const status = await new Promise((resolve, reject) => {
        const asked = request(
          app.address + path,
          { method: 'POST', headers: { 'content-type': type, ...headers } },
          (answer) => resolve(answer.resume().statusCode),
        )
        asked.once('error', reject).end('{}')
      })
      t.equal(status, 415, `${path} ${JSON.stringify(headers)}`)
    }
  }
  t.equal(await countTasks(), before)
  const plain = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-encoding': 'identity' },
    body: '{}',
  })
  t.equal(plain.status, 202)
})

t.test(
  'a body that is not JSON is refused with the location, and one with a forbidden field with its name',
  async (t) => {
    const details = [
      ['{"title": "x",}', /position 14|in JSON/],
      ['{"title": ', /Unexpected end of JSON input/],
      ['', /is empty/],
      [' ', /is empty/],
      ['{"payload":{"__proto__":{"x":1}}}', /"__proto__"/],
    ] as const
    for (const [body, detail] of details) t.match((await post(body)).body, { code: 'invalid_json', detail })
  },
)

t.test('an unreadable address is answered with a problem too', async (t) => {
  const answer = await fetch(`${url}/%zz`)
  t.equal(answer.status, 400)
  t.match(answer.headers.get('content-type'), /^application\/problem\+json/)
  t.match(await answer.json(), { code: 'malformed_url', detail: /path/, fix: /encode/ })
})

t.test('concurrent creates are all stored, each once', async (t) => {
  const before = await countTasks()
  const answers = await Promise.all(Array.from({ length: 300 }, (_, index) => post({ title: `task ${index}` })))
  t.equal(new Set(answers.map(({ body }) => body['id'])).size, 300)
  t.ok(
    answers.every(({ body }, index) => body['title'] === `task ${index}`),
    'each gets its own answer',
  )
  t.equal(await countTasks(), before + 300)
})

t.test('an endless body is not awaited, and an unsupported method is answered with a problem', async (t) => {
  const answer = await fetch(url, { method: 'DELETE' })
  t.equal(answer.status, 405)
  t.match(await answer.json(), { code: 'method_not_allowed' })
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const call = request(
      url,
      { method: 'POST', headers: { 'content-type': 'application/json', 'content-length': '300000' } },
      (reply) => {
        reply.resume()
        resolve(reply.statusCode)
        call.destroy()
      },
    )
    call.on('error', reject)
    call.flushHeaders()
  })
  t.equal(status, 413)
})

t.test('a number that would lose precision is refused with its location, and nothing is stored', async (t) => {
  const before = await countTasks()
  for (const [number, kept] of [
    ['1970670598291982290', '1970670598291982300'],
    ['1e400', 'Infinity'],
    ['9007199254740993', '9007199254740992'],
  ]) {
    const { answer, body } = await post(`{"type":"demo.sleep","tags":["a"],"payload":{"ids":[1,${number}]}}`)
    t.equal(answer.status, 422)
    t.match(body, {
      code: 'inexact_number',
      errors: [{ pointer: '/payload/ids/1', detail: `${number} would be stored as ${kept}`, fix: /string/ }],
    })
  }
  t.equal(await countTasks(), before)
})

t.test('a body that is not UTF-8 is refused, whole or in chunks; a byte order mark is ignored', async (t) => {
  const send = (bytes: Buffer, options: object = {}) => {
    const body = new Blob([new Uint8Array(bytes)])
    return fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: 'duplex' in options ? body.stream() : body,
      ...options,
    })
  }
  const before = await countTasks()
  for (const bytes of [
    Buffer.from('{"title":"caf\xe9"}', 'latin1'),
    Buffer.from('{"title":"x"}', 'utf16le'),
    Buffer.concat([Buffer.from('{"title":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
  ]) {
    for (const duplex of [{}, { duplex: 'half' }]) {
      const answer = await send(bytes, duplex)
      t.equal(answer.status, 400)
      t.match(await answer.json(), { code: 'invalid_json' })
    }
  }
  t.equal(await countTasks(), before)
  const marked = await send(Buffer.from('\ufeff{"title":"caf\u00e9"}'))
  t.equal(marked.status, 202)
  t.match(await marked.json(), { title: 'caf\u00e9' })
  for (const count of [2, 3]) {
    for (const to of [url, `${url}/batch`]) {
      const body = `${'\ufeff'.repeat(count)}${to.endsWith('batch') ? '{"tasks":[{}]}' : '{}'}`
      const answer = await fetch(to, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
      t.equal(answer.status, 400, `${count} byte order marks`)
      t.match(await answer.json(), { code: 'invalid_json', detail: /byte order mark/ })
    }
  }
})
