/**
 * A create is refused, with the field named, if its payload certainly exceeds a limit or cannot succeed. Nothing is
 * sent.
 */
import t from 'tap'
import { createRegistry } from '../../src/definitions/registry.js'
import { defineTask, Type } from '../../src/index.js'
import type { FieldError } from '../../src/protocol/errors.js'
import { startApp } from '../helpers/app.js'
import { openTestDatabase } from '../helpers/database.js'

const app = await startApp(t)
const db = await openTestDatabase(t, app.databaseUrl)
const url = 'https://example.com/'
const UPLOAD = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
const [EARLY, LATE] = ['2026-01-01T00:00:00Z', '2026-01-01T01:00:00+01:00']

const REFUSED: [type: string, payload: object, pointer: string][] = [
  ['http.request', { url, maxBytes: 196_609 }, '/payload/maxBytes'],
  ['http.request', { url, maxBytes: 262_144 }, '/payload/maxBytes'],
  ['http.request', { url, timeoutMs: 60_001 }, '/payload/timeoutMs'],
  ['http.request', { url, body: 'x' }, '/payload/body'],
  ['http.request', { url, method: 'HEAD', body: null }, '/payload/body'],
  ['http.request', { url, headers: { Host: 'a' } }, '/payload/headers/Host'],
  ['http.request', { url, headers: { 'Transfer-Encoding': 'chunked' } }, '/payload/headers/Transfer-Encoding'],
  ['http.request', { url: 'http://[/' }, '/payload/url'],
  ['http.request', { url: 'http://127.0.0.1/' }, '/payload/url'],
  ['http.request', { url: 'https://example.com:8443/' }, '/payload/url'],
  ['http.request', { url: 'https://me:secret@example.com/' }, '/payload/url'],
  ['image.thumbnail', {}, '/payload/url'],
  ['image.thumbnail', { upload: UPLOAD, url }, '/payload/url'],
  ['image.thumbnail', { url: 'http://[/' }, '/payload/url'],
  ['image.thumbnail', { url: 'http://169.254.169.254/' }, '/payload/url'],
  ['image.thumbnail', { url, widths: [8_193] }, '/payload/widths/0'],
  ['tasks.export', { createdAfter: LATE, createdBefore: EARLY }, '/payload/createdBefore'],
  ['report.generate', { from: LATE, to: EARLY }, '/payload/to'],
  ['email.send', { to: Array.from({ length: 51 }, () => 'a@example.com'), subject: 'a' }, '/payload/to'],
]

async function create(type: string, payload: object) {
  const answer = await fetch(`${app.address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type, payload, delayMs: 3_600_000 }),
  })
  return { status: answer.status, body: (await answer.json()) as { id: string; code?: string; errors?: FieldError[] } }
}

const countTasks = () =>
  db.run({ name: 'test_count', text: 'select count(*)::integer as count from taskwire.tasks' }, [])

for (const [type, payload, pointer] of REFUSED) {
  t.test(`${type} with ${JSON.stringify(payload).slice(0, 100)} is refused at create`, async (t) => {
    const before = await countTasks()
    t.match(await create(type, payload), {
      status: 422,
      body: { code: 'invalid_payload', errors: [{ pointer, detail: /./ }] },
    })
    t.same(await countTasks(), before, 'nothing is stored')
  })
}

t.test('a payload at the limit is accepted', async (t) => {
  t.match(await create('http.request', { url, maxBytes: 196_608, timeoutMs: 60_000, headers: { 'x-host': 'a' } }), {
    status: 202,
  })
  t.match(await create('http.request', { url, method: 'DELETE', body: null }), { status: 202 })
  t.match(await create('image.thumbnail', { upload: UPLOAD }), { status: 202 })
  t.match(await create('tasks.export', { createdAfter: EARLY, createdBefore: '2026-01-01T00:00:00.001Z' }), {
    status: 202,
  })
  t.match(
    await create('report.generate', { from: '9999-01-01T00:00:00Z' }),
    { status: 202 },
    'an open end is resolved when the task runs',
  )
})

t.test('an edit is refused as a create is, and leaves the task as it was', async (t) => {
  const { body } = await create('http.request', { url })
  const address = `${app.address}/api/tasks/${body.id}`
  const edited = await fetch(address, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ payload: { url, body: 'x' } }),
  })
  t.equal(edited.status, 422)
  t.match(await edited.json(), { code: 'invalid_payload', errors: [{ pointer: '/payload/body' }] })
  t.match(await (await fetch(address)).json(), { version: 1, payload: { url } })
})

t.test(
  'checkPayload of a type is called for payloads that match the schema, and refuses the payload if it throws',
  async (t) => {
    const asked: unknown[] = []
    const own = defineTask({
      type: 'own.check',
      title: 'own',
      description: 'own',
      payload: Type.Object({ from: Type.Integer(), to: Type.Integer() }),
      result: Type.Null(),
      checkPayload(payload) {
        asked.push(payload)
        if (payload.from === 13) throw new Error('unlucky')
        return payload.from < payload.to ? [] : [{ pointer: '/to', detail: 'is not after from' }]
      },
      run: async () => null,
    })
    const registered = createRegistry([own], own.type).find(own.type)
    t.match(registered?.readPayload({ from: 'a' }).errors, [{ pointer: '/to' }, { pointer: '/from' }])
    t.same(asked, [])
    t.same(registered?.readPayload({ from: 1, to: 2 }).errors, [])
    t.match(registered?.readPayload({ from: 2, to: 1 }).errors, [{ pointer: '/to', detail: 'is not after from' }])
    t.match(registered?.readPayload({ from: 13, to: 14 }).errors, [
      { pointer: '', detail: /checkPayload of own\.check failed .*unlucky/ },
    ])
  },
)
