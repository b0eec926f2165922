/** Debounced creates over REST, in a batch and by a handler, with two web applications, a worker and a relay. */
import t from 'tap'
import type { Problem } from '../../src/protocol/errors.js'
import type { Batch, CreateTask } from '../../src/protocol/http.js'
import type { Task } from '../../src/protocol/task.js'
import { startApp, startWebBeside } from '../helpers/app.js'
import { OWN_TASKS } from '../helpers/processes.js'
import { createSend, type Answer } from '../helpers/send.js'
import { versionsOf, watch } from '../helpers/watch.js'

const HOUR = 3_600_000
const variables = { TASKS_DIR: OWN_TASKS, HTTP_REQUEST_ALLOW_PRIVATE: 'true' }
const app = await startApp(t, ['worker', 'relay'], variables)
const { address } = app
const other = await startWebBeside(t, app, variables)

const send = createSend(address)

type DebounceOptions = Partial<NonNullable<CreateTask['debounce']>>

const bodyOf = (mark: string, key: string, debounce: DebounceOptions = {}, more: Partial<CreateTask> = {}) => ({
  type: 'test.marks',
  payload: { marks: { [mark]: 1 } },
  debounce: { key, delayMs: HOUR, take: 'merge', ...debounce },
  ...more,
})
const create = (body: object, at = address) => send('POST', `${at}/api/tasks`, body)
const refuse = (body: object) => send<Problem>('POST', `${address}/api/tasks`, body)
const read = async (id: string) => (await send('GET', `${address}/api/tasks/${id}`)).body
const end = async (id: string) => (await send('GET', `${address}/api/tasks/${id}?wait=20`)).body
const marksOf = (value: unknown) => Object.keys(value as object).sort()
const pointersOf = ({ body }: Answer<Problem>) => body.errors?.map(({ pointer }) => pointer)

t.test('of 200 creates at once over two servers one makes a task, and its run gets the marks of all', async (t) => {
  const marks = Array.from({ length: 200 }, (_, index) => `m${index}`)
  const answers = await Promise.all(
    marks.map((mark, index) => create(bodyOf(mark, 'many'), index % 2 === 0 ? address : other)),
  )
  t.same(new Set(answers.map(({ status }) => status)), new Set([200, 202]))
  t.equal(answers.filter(({ status }) => status === 202).length, 1, 'one is created')
  t.equal(answers.filter(({ headers }) => headers.get('existing-task') === 'true').length, marks.length - 1)
  t.equal(new Set(answers.map(({ body }) => body.id)).size, 1)
  const { body } = await create(bodyOf('last', 'many', { delayMs: 0 }))
  const task = await end(body.id)
  t.equal(task.status, 'COMPLETED')
  t.same(marksOf(task.result), [...marks, 'last'].sort())
  t.equal((await create(bodyOf('new', 'many'))).status, 202, 'the next create begins anew')
})

t.test('while tasks start, each accepted mark is in the result of the task that was the answer', async (t) => {
  const answers: [mark: string, id: string][] = []
  const ids = new Set<string>()
  const lines = Array.from({ length: 4 }, async (_, line) => {
    for (let index = 0; ids.size < 4; index += 1) {
      const mark = `s${line}-${index}`
      const { body } = await create(bodyOf(mark, 'storm', { delayMs: 5, maxDelayMs: 20 }), line % 2 ? address : other)
      answers.push([mark, body.id])
      ids.add(body.id)
    }
  })
  await Promise.all(lines)
  const results = new Map<string, string[]>()
  for (const id of ids) results.set(id, marksOf((await end(id)).result))
  t.same(
    answers.filter(([mark, id]) => results.get(id)?.includes(mark) !== true),
    [],
  )
  t.equal([...results.values()].flat().length, answers.length, 'and in no other')
})

t.test('a server that is restarted changes the task that it made before', async (t) => {
  const before = await startWebBeside(t, app, variables)
  const { body } = await create(bodyOf('before', 'restart'), before)
  const after = await startWebBeside(t, app, variables)
  const second = await create(bodyOf('after', 'restart', { delayMs: 0 }), after)
  t.match(second, { status: 200, body: { id: body.id } })
  t.same(marksOf((await end(body.id)).result), ['after', 'before'])
})

t.test('every watcher sees each change in order', async (t) => {
  const { body } = await create(bodyOf('a', 'watched', {}, { title: 'watched' }))
  const watchers = [address, other].map((at) => watch(at, `/ws/tasks/${body.id}`))
  await Promise.all(watchers.map(({ until }) => until(({ version }) => version === 1)))
  await create(bodyOf('b', 'watched'), other)
  await create(bodyOf('c', 'watched', { take: 'last' }, { title: 'last' }))
  await create(bodyOf('d', 'watched', { delayMs: 0 }), other)
  for (const { closed } of watchers) {
    const { messages } = await closed
    t.same([...new Set(versionsOf(messages))], [1, 2, 3, 4, 5, 6, 7])
    const edits = messages.filter((message) => 'edited' in message)
    t.match(edits, [
      { version: 2, edited: ['payload', 'runAt'], changes: { payload: { marks: { a: 1, b: 1 } } } },
      { version: 3, edited: ['title', 'payload', 'runAt'], changes: { payload: { marks: { c: 1 } } } },
      { version: 4, edited: ['payload', 'runAt'] },
    ])
  }
  t.same(marksOf((await end(body.id)).result), ['c', 'd'])
})

t.test('a repeated Idempotency-Key changes the task once, and stands for it', async (t) => {
  const { body: first } = await create(bodyOf('a', 'idempotent'))
  const change = bodyOf('b', 'idempotent')
  const repeat = (body: object) =>
    send<Task & Problem>('POST', `${address}/api/tasks`, body, { 'idempotency-key': '"debounced"' })
  const once = await repeat(change)
  t.match(once, { status: 200, body: { id: first.id, version: 2 } })
  const again = await repeat(change)
  t.match(again, { body: { id: first.id, version: 2 } })
  t.equal(again.headers.get('idempotent-replayed'), 'true')
  t.match(await repeat(bodyOf('c', 'idempotent')), { status: 422, body: { code: 'key_reused' } })
  t.match(await read(first.id), { version: 2, payload: { marks: { a: 1, b: 1 } } })
})

t.test('several creates of a batch with one key are one task, and errors name the position', async (t) => {
  const post = (tasks: object[]) => send<Batch & Problem>('POST', `${address}/api/tasks/batch`, { tasks })
  const { status, body } = await post([bodyOf('a', 'batch'), { delayMs: HOUR }, bodyOf('b', 'batch')])
  t.equal(status, 202)
  t.equal(body.items[0]?.id, body.items[2]?.id)
  t.not(body.items[0]?.id, body.items[1]?.id)
  const id = body.items[0]?.id ?? ''
  t.match(await read(id), { version: 1, batchId: body.batchId, payload: { marks: { a: 1, b: 1 } } })
  const refused = await post([
    { title: 'is not created', delayMs: HOUR },
    bodyOf('c', 'batch'),
    bodyOf('d', 'batch', {}, { payload: { marks: { d: 'x' } } }),
  ])
  t.match(refused, {
    status: 422,
    body: { code: 'invalid_payload', errors: [{ pointer: '/tasks/2/payload/marks/d' }] },
  })
  t.match(await read(id), { version: 1 })
})

t.test('an edit is kept by merge and replaced by last, and a moved start is moved again', async (t) => {
  const { body } = await create(bodyOf('a', 'edited'))
  const path = `${address}/api/tasks/${body.id}`
  const runAt = new Date(Date.now() + 5 * HOUR).toISOString()
  await send('PATCH', path, { title: 'by hand', payload: { marks: { hand: 1 }, note: 'by hand' }, runAt })
  await create(bodyOf('b', 'edited'))
  const merged = await read(body.id)
  t.match(merged, { title: 'by hand', payload: { note: 'by hand' } })
  t.same(marksOf((merged.payload as { marks: object }).marks), ['b', 'hand'])
  t.ok(Date.parse(merged.runAt ?? '') < Date.parse(runAt))
  await create(bodyOf('x', 'edited', {}, { payload: { note: null } as never }))
  t.notOk('note' in ((await read(body.id)).payload as object), 'null removes a field')
  await create(bodyOf('c', 'edited', { take: 'last' }))
  const last = await read(body.id)
  t.match(last, { title: 'test.marks' })
  t.same(last.payload, { marks: { c: 1 } })
})

t.test('a handler creates with a debounce key, once in all of its attempts', async (t) => {
  const parents = await Promise.all(
    ['p', 'q'].map(async (mark) => (await create({ type: 'test.marker', payload: { mark } })).body.id),
  )
  const ended = await Promise.all(parents.map(end))
  const children = ended.map(({ result }) => (result as { child: string }).child)
  t.equal(children[0], children[1])
  const child = await read(children[0] ?? '')
  t.match(child, { status: 'SCHEDULED', version: 2, payload: { marks: { p: 1, q: 1 } } })
  t.ok(parents.includes(child.parentId ?? ''), 'the parent is the one that created it')
})

t.test('fields that contradict each other are refused by name, and nothing is stored', async (t) => {
  const runAt = new Date(Date.now() + HOUR).toISOString()
  for (const [more, pointer] of [
    [{ uniqueKey: 'u' }, '/uniqueKey'],
    [{ runAt }, '/runAt'],
    [{ delayMs: 1 }, '/delayMs'],
    [{ expiresAt: runAt, debounce: { key: 'refused', delayMs: 2 * HOUR } }, '/expiresAt'],
    [{ debounce: { key: 'refused', delayMs: 2, maxDelayMs: 1 } }, '/debounce/maxDelayMs'],
    [{ type: 'test.single', payload: { name: 'n' } }, '/debounce'],
  ] as const) {
    const refused = await refuse({ ...bodyOf('a', 'refused'), ...more })
    t.match(refused, { status: 422, body: { code: 'invalid_task', errors: [{ fix: String }] } })
    t.same(pointersOf(refused), [pointer])
  }
  for (const [debounce, pointer] of [
    [{ key: '' }, '/debounce/key'],
    [{ key: 'x'.repeat(201) }, '/debounce/key'],
    [{ key: 'a\0b' }, '/debounce/key'],
    [{ delayMs: -1 }, '/debounce/delayMs'],
    [{ delayMs: 0.5 }, '/debounce/delayMs'],
    [{ delayMs: 367 * 24 * HOUR }, '/debounce/delayMs'],
    [{ maxDelayMs: 367 * 24 * HOUR }, '/debounce/maxDelayMs'],
    [{ take: 'first' }, '/debounce/take'],
    [{ more: 1 }, '/debounce/more'],
  ] as const) {
    const refused = await refuse(bodyOf('a', 'refused', debounce as never))
    t.equal(refused.status, 400)
    t.same(pointersOf(refused), [pointer], JSON.stringify(debounce).slice(0, 40))
  }
  t.equal((await create(bodyOf('a', 'x'.repeat(200), { delayMs: 366 * 24 * HOUR }))).status, 202, 'the largest values')
  t.equal((await create(bodyOf('a', 'refused'))).status, 202, 'the key was free')
})

t.test('a later create that asks for what cannot be changed is refused, and changes nothing', async (t) => {
  const settled = {
    callbackUrl: 'http://127.0.0.1:9/first',
    concurrencyKey: 'customer',
    sequenceKey: 'sequence',
    cost: 2,
  }
  const { body } = await create(bodyOf('a', 'settled', {}, settled))
  for (const more of [
    { callbackUrl: 'http://127.0.0.1:9/second' },
    { concurrencyKey: 'another' },
    { sequenceKey: 'another' },
    { sequenceKey: 'sequence', onFailure: 'skip' as const },
    { cost: 3 },
  ]) {
    const refused = await refuse(bodyOf('b', 'settled', {}, more))
    t.match(refused, { status: 422, body: { errors: [{ detail: new RegExp(body.id), fix: /another debounce.key/ }] } })
    t.same(pointersOf(refused), [`/${Object.keys(more).at(-1)}`])
  }
  t.match(await read(body.id), { version: 1 })
  t.match(await create(bodyOf('c', 'settled', {}, settled)), { status: 200, body: { id: body.id, version: 2 } })
  t.match(await create(bodyOf('d', 'settled')), { status: 200, body: { version: 3 } }, 'or it leaves them out')
  const late = await refuse(bodyOf('e', 'settled', {}, { expiresAt: new Date(Date.now() + HOUR / 2).toISOString() }))
  t.match(late, { status: 422, body: { errors: [{ pointer: '/expiresAt' }] } })
})
