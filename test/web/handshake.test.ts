/** Whatever the reason for refusing a WebSocket handshake, the response is a problem like every other error. */
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { WebSocket } from 'ws'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { Problem as ProblemSchema, type Problem } from '../../src/protocol/errors.js'
import { startApp } from '../helpers/app.js'
import { sendRaw } from '../helpers/raw-request.js'
import { createTask } from '../helpers/watch.js'

const { address } = await startApp(t, [], { MAX_STREAMS_PER_ADDRESS: '1' })
const { id } = await createTask(address, { delayMs: 86_400_000 })
const checker = createChecker(ProblemSchema)
const PATHS = ['/ws/tasks', `/ws/tasks/${id}`]
const UNKNOWN = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'
const HANDSHAKE = {
  host: 'localhost',
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'sec-websocket-version': '13',
}

/** Replacements for the headers of a handshake; undefined omits a header. */
type Changes = Record<string, string | undefined>
const REFUSALS: Record<string, { changes: Changes; method?: string; status: number; code: Problem['code'] }> = {
  'no key': { changes: { 'sec-websocket-key': undefined }, status: 400, code: 'invalid_request' },
  'an empty key': { changes: { 'sec-websocket-key': '' }, status: 400, code: 'invalid_request' },
  'a short key': { changes: { 'sec-websocket-key': 'YQ==' }, status: 400, code: 'invalid_request' },
  'no version': { changes: { 'sec-websocket-version': undefined }, status: 426, code: 'upgrade_required' },
  'an old version': { changes: { 'sec-websocket-version': '7' }, status: 426, code: 'upgrade_required' },
  'a version that is not a number': {
    changes: { 'sec-websocket-version': 'x' },
    status: 426,
    code: 'upgrade_required',
  },
  'several versions': { changes: { 'sec-websocket-version': '13, 8' }, status: 426, code: 'upgrade_required' },
  'a version in another notation': {
    changes: { 'sec-websocket-version': '0xd' },
    status: 426,
    code: 'upgrade_required',
  },
  'a malformed protocol': { changes: { 'sec-websocket-protocol': 'a b' }, status: 400, code: 'invalid_request' },
  'an empty protocol': { changes: { 'sec-websocket-protocol': '' }, status: 400, code: 'invalid_request' },
  'a protocol with an empty name': {
    changes: { 'sec-websocket-protocol': 'a,,b' },
    status: 400,
    code: 'invalid_request',
  },
  'a repeated protocol': { changes: { 'sec-websocket-protocol': 'a, a' }, status: 400, code: 'invalid_request' },
  'a page of another origin': { changes: { origin: 'https://evil.example' }, status: 403, code: 'origin_not_allowed' },
  'another host': { changes: { host: 'evil.example' }, status: 421, code: 'host_not_allowed' },
  'no upgrade': { changes: { upgrade: undefined, connection: 'close' }, status: 426, code: 'upgrade_required' },
  POST: { changes: {}, method: 'POST', status: 405, code: 'method_not_allowed' },
  DELETE: { changes: {}, method: 'DELETE', status: 405, code: 'method_not_allowed' },
}

async function ask(path: string, changes: Changes, method = 'GET') {
  const fields = Object.entries({ ...HANDSHAKE, ...changes }).filter(([, value]) => value !== undefined)
  return sendRaw(address, [`${method} ${path} HTTP/1.1`, ...fields.map(([name, value]) => `${name}: ${value}`)])
}

function isProblem(
  t: Test,
  { status, head, body }: Awaited<ReturnType<typeof ask>>,
  expected: { status: number; code: string },
  name: string,
): void {
  t.match({ status, head }, { status: expected.status, head: /content-type: application\/problem\+json/ }, name)
  const problem = JSON.parse(body) as Problem
  t.same(checker.check(problem), [], name)
  t.equal(problem.code, expected.code, name)
}

for (const [name, { changes, method, status, code }] of Object.entries(REFUSALS)) {
  t.test(`a handshake with ${name} is refused with a problem`, async (t) => {
    for (const path of PATHS) isProblem(t, await ask(path, changes, method), { status, code }, path)
  })
}

t.test('a handshake for a missing task or address is refused with a problem', async (t) => {
  isProblem(t, await ask('/ws/nothing', {}), { status: 404, code: 'not_found' }, 'an unknown path')
  isProblem(t, await ask(`/ws/tasks/${UNKNOWN}`, {}), { status: 404, code: 'task_not_found' }, 'an unknown task')
  isProblem(t, await ask('/ws/tasks/x', {}), { status: 400, code: 'invalid_id' }, 'a malformed id')
  isProblem(
    t,
    await ask(`/ws/tasks/${id}?since=x`, {}),
    { status: 400, code: 'invalid_request' },
    'a malformed position',
  )
  isProblem(t, await ask('/ws/%zz', {}), { status: 400, code: 'malformed_url' }, 'a malformed path')
})

t.test('a refusal of another version names the one to use', async (t) => {
  const { head } = await ask('/ws/tasks', { 'sec-websocket-version': '7' })
  t.match(head, /sec-websocket-version: 13/)
  t.match(head, /upgrade: websocket/)
})

t.test('a handshake with too many headers is refused with a problem', async (t) => {
  const many = Object.fromEntries(Array.from({ length: 1_100 }, (_, index) => [`x${index}`, '1']))
  isProblem(
    t,
    await ask('/ws/tasks', { ...many, upgrade: 'h2c' }),
    { status: 431, code: 'head_too_large' },
    'another protocol',
  )
})

t.test('a handshake over the limit is refused with a problem', async (t) => {
  const socket = new WebSocket(`${address.replace('http', 'ws')}/ws/tasks`)
  t.teardown(() => socket.terminate())
  await once(socket, 'open')
  for (const path of PATHS) isProblem(t, await ask(path, {}), { status: 429, code: 'too_many_streams' }, path)
})
