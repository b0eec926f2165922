/** The client's errors when something other than Taskwire answers a request, or when nothing does. */
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { ConnectionError, createTask, ProblemError, type CreateOptions } from '../../public/task-stream.js'

type Answer = (response: ServerResponse) => void

async function listen(answer: Answer): Promise<{ server: Server; baseUrl: string }> {
  const server = createServer((_request, response) => answer(response)).listen(0, '127.0.0.1')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  await once(server, 'listening')
  return { server, baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

async function failureOf(answer: Answer, options: CreateOptions = {}): Promise<unknown> {
  const { baseUrl } = await listen(answer)
  return createTask({ title: 'example' }, { baseUrl, ...options }).then(
    () => 'no failure',
    (error: unknown) => error,
  )
}

const html =
  (status: number): Answer =>
  (response) =>
    response.writeHead(status, { 'content-type': 'text/html' }).end('<html><body><h1>nginx</h1></body></html>')

t.test('an answer of a proxy is explained, and the message says what to do', async (t) => {
  for (const [status, message] of [
    [302, 'A proxy redirected the request, perhaps to a sign-in page'],
    [401, 'A proxy requires you to sign in (401)'],
    [403, 'A proxy refused the request (403)'],
    [404, 'Taskwire is not at this address (404)'],
    [413, 'The request is too large for a proxy (413)'],
    [418, 'The server refused the request without a reason (418)'],
    [429, 'A proxy is limiting requests (429)'],
    [431, 'The request headers are too large for a proxy (431)'],
    [500, 'The server, or a proxy in front of it, failed (500)'],
    [502, 'The server is not answering its proxy (502)'],
    [503, 'The server is not available (503)'],
    [504, 'The server did not answer its proxy in time (504)'],
    [520, 'The server, or a proxy in front of it, failed (520)'],
  ] as const) {
    for (const answer of [
      html(status),
      (response: ServerResponse) => response.writeHead(status).end(),
      (response: ServerResponse) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end('{"message":"no route"}'),
    ]) {
      const error = await failureOf(answer)
      if (!(error instanceof ProblemError)) return t.fail(`${status}: ${String(error)}`)
      t.equal(error.message, message)
      t.match(error.problem, { status, code: 'unexpected', fix: /\w{4}.*\.$/ }, `${status}: ${error.problem.fix}`)
    }
  }
})

t.test('a 200 that is not an answer of Taskwire is explained too', async (t) => {
  for (const [answer, message] of [
    [html(200), 'The answer was a web page, perhaps a sign-in page'],
    [(response) => response.end('<!doctype html>'), 'The answer was a web page, perhaps a sign-in page'],
    [(response) => response.end(), 'The answer is empty'],
    [(response) => response.writeHead(204).end(), 'The answer is empty'],
    [(response) => response.end('{"id": "019aa3f2-7c1e'), 'The answer is incomplete, or not from Taskwire'],
    [(response) => response.end('{"status":"maintenance"}'), 'The answer is incomplete, or not from Taskwire'],
    [(response) => response.end('null'), 'The answer is incomplete, or not from Taskwire'],
    [(response) => response.end('ok'), 'The answer is incomplete, or not from Taskwire'],
  ] as const satisfies [Answer, string][]) {
    const error = await failureOf(answer)
    t.ok(error instanceof ProblemError && error.problem.code === 'unexpected')
    t.match(error, { message })
  }
})

t.test('a missing answer is classified, and keeps its cause', async (t) => {
  const { server, baseUrl } = await listen(() => {})
  server.close()
  server.closeAllConnections()
  await once(server, 'close')
  const unreachable = await createTask({}, { baseUrl }).catch((error: unknown) => error)
  t.match(unreachable, {
    name: 'ConnectionError',
    code: 'unreachable',
    message: 'The server cannot be reached',
    cause: TypeError,
  })
  t.ok(unreachable instanceof ConnectionError)
  t.match(await failureOf((response) => response.destroy()), { code: 'unreachable' })
  const cut: Answer = (response) => {
    response.writeHead(202, { 'content-length': '100' })
    response.write('{"id": "019a', () => response.destroy())
  }
  t.match(await failureOf(cut), { code: 'incomplete', message: 'The connection broke before the answer was complete' })
  t.match(await failureOf(() => {}, { timeoutMs: 50 }), {
    code: 'timeout',
    message: 'The server has not answered for 1 s',
  })
  const trickle: Answer = (response) => response.writeHead(202).write('{"id":')
  t.match(await failureOf(trickle, { timeoutMs: 50 }), { code: 'timeout' }, 'the time-out also applies to the body')
})

t.test('a caller that aborts receives its own reason', async (t) => {
  const reason = new Error('no longer wanted')
  const controller = new AbortController()
  t.equal(await failureOf(() => controller.abort(reason), { signal: controller.signal }), reason)
  t.equal(await failureOf(() => {}, { signal: AbortSignal.abort(reason) }), reason)
})

t.test('a key is sent in the form of the header', async (t) => {
  const keys: unknown[] = []
  const answer: Answer = (response) => {
    keys.push(response.req.headers['idempotency-key'])
    response.writeHead(202).end('{"id":"1"}')
  }
  const { baseUrl } = await listen(answer)
  await createTask({}, { baseUrl, idempotencyKey: 'one' })
  await createTask({}, { baseUrl })
  t.same(keys, ['"one"', undefined])
})
