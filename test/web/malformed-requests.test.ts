/**
 * Bytes that are not an HTTP request, or that request the impossible, are answered like every other error: with a
 * problem that has a code.
 */
import { request } from 'node:http'
import t, { type Test } from 'tap'
import { createChecker } from '../../src/definitions/schema-errors.js'
import { Problem as ProblemSchema, PROBLEMS, type Problem } from '../../src/protocol/errors.js'
import { startApp } from '../helpers/app.js'
import { createText, openRaw, requestText } from '../helpers/raw-client.js'
import { createTask } from '../helpers/watch.js'

const { address } = await startApp(t)
const checker = createChecker(ProblemSchema)

interface Answer {
  status: number
  head: string
  problem: Problem
}

/** The responses of a connection, one after another, once the server has closed it. */
function readAnswers(said: string): Answer[] {
  const answers: Answer[] = []
  for (let rest = said; rest !== '';) {
    const end = rest.indexOf('\r\n\r\n') + 4
    const head = rest.slice(0, end).toLowerCase()
    const length = Number(/content-length: (\d+)/.exec(head)?.[1])
    const body = Buffer.from(rest.slice(end, end + length), 'latin1').toString()
    answers.push({ status: Number(/^http\/1\.1 (\d+)/.exec(head)?.[1]), head, problem: JSON.parse(body) as Problem })
    rest = rest.slice(end + length)
  }
  return answers
}

function isProblem(t: Test, { status, head, problem }: Answer, code: Problem['code'], name: string): void {
  t.equal(status, PROBLEMS[code as keyof typeof PROBLEMS].status, name)
  t.match(head, 'content-type: application/problem+json', name)
  t.match(head, 'x-content-type-options: nosniff', name)
  t.same(checker.check(problem), [], name)
  t.equal(problem.code, code, name)
}

async function say(t: Test, bytes: string | Buffer): Promise<Answer[]> {
  const client = await openRaw(t, address)
  client.send(bytes)
  return readAnswers(await client.closed)
}

const POST = 'POST /api/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n'
const MALFORMED: Record<string, { bytes: string | Buffer; code?: Problem['code'] }> = {
  'an invalid method': { bytes: 'FETCH / HTTP/1.1\r\nhost: localhost\r\n\r\n' },
  'a method in lower case': { bytes: 'get / HTTP/1.1\r\nhost: localhost\r\n\r\n' },
  'no method': { bytes: '/ HTTP/1.1\r\nhost: localhost\r\n\r\n' },
  'an invalid version': { bytes: 'GET / HTTP/9.9\r\nhost: localhost\r\n\r\n' },
  'another protocol': { bytes: 'GET / SIP/2.0\r\nhost: localhost\r\n\r\n' },
  'a header without a colon': { bytes: 'GET / HTTP/1.1\r\nhost: localhost\r\nnothing here\r\n\r\n' },
  'a header with a space in its name': { bytes: 'GET / HTTP/1.1\r\nhost: localhost\r\nx y: 1\r\n\r\n' },
  'a header with a control character': { bytes: 'GET / HTTP/1.1\r\nhost: localhost\r\nx: a\x01b\r\n\r\n' },
  'two lengths': { bytes: `${POST}content-length: 2\r\ncontent-length: 3\r\n\r\n{}` },
  'a length that is not a number': { bytes: `${POST}content-length: two\r\n\r\n{}` },
  'a negative length': { bytes: `${POST}content-length: -1\r\n\r\n{}` },
  'both a length and chunks': { bytes: `${POST}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}` },
  'a chunk without a size': { bytes: `${POST}transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n` },
  'a chunk without its end': { bytes: `${POST}transfer-encoding: chunked\r\n\r\n2\r\n{}xx0\r\n\r\n` },
  'a space in the address': { bytes: 'GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n' },
  'a TLS handshake': { bytes: Buffer.from('16030100c8010000c40303', 'hex') },
  'bytes of any kind': { bytes: Buffer.from(Array.from({ length: 64 }, (_, index) => (index * 37) % 256)) },
  'a head that is too large': {
    bytes: `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`,
    code: 'head_too_large',
  },
  'an address that is too long': {
    bytes: `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
    code: 'head_too_large',
  },
  'very many headers': {
    bytes: `GET / HTTP/1.1\r\nhost: localhost\r\n${'x: 1\r\n'.repeat(10_000)}\r\n`,
    code: 'head_too_large',
  },
  'a chunk with endless extensions': {
    bytes: `${POST}transfer-encoding: chunked\r\n\r\n2;${'a'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
    code: 'body_too_large',
  },
}

t.test(
  'bytes that are not an HTTP request are answered with a problem, once, and the connection is closed',
  async (t) => {
    for (const [name, { bytes, code = 'malformed_request' }] of Object.entries(MALFORMED)) {
      const answers = await say(t, bytes)
      t.equal(answers.length, 1, name)
      for (const answer of answers) {
        isProblem(t, answer, code, name)
        t.match(answer.head, 'connection: close', name)
      }
    }
  },
)

t.test('a TLS handshake is answered with a hint that the port uses plain HTTP', async (t) => {
  const [answer] = await say(t, Buffer.from('16030100c8010000c40303', 'hex'))
  t.match(answer?.problem.detail, 'TLS')
})

t.test('requests pipelined before malformed bytes are answered first', async (t) => {
  const client = await openRaw(t, address)
  client.send(`${createText({ title: 'first' })}${requestText('GET /healthz')}NONSENSE\r\n\r\n`)
  const statuses = [...(await client.closed).matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
  t.same(statuses, [202, 200, 400])
})

t.test('a request with a broken body behind others is answered in its turn', async (t) => {
  const client = await openRaw(t, address)
  client.send(`${createText({ title: 'first' })}${POST}transfer-encoding: chunked\r\n\r\nzz\r\n`)
  const statuses = [...(await client.closed).matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
  t.same(statuses, [202, 400])
})

t.test('the server keeps working after malformed bytes', async (t) => {
  await Promise.all(Array.from({ length: 50 }, () => say(t, 'NONSENSE\r\n\r\n')))
  t.equal((await fetch(`${address}/healthz`)).status, 200)
})

async function get(path: string): Promise<Answer> {
  const client = await openRaw(t, address)
  client.send(requestText(`GET ${path}`, { connection: 'close' }))
  const said = await client.closed
  t.match(said.slice(0, 1_000).toLowerCase(), 'application/problem+json', path)
  const [answer] = readAnswers(said)
  if (answer === undefined) throw new Error(`nothing was answered to ${path}`)
  return answer
}

const ID = '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10'

t.test('a query that is not percent-encoded UTF-8 is refused, and the parameter is named', async (t) => {
  const wrong = [
    '%zz',
    '%',
    '%4',
    '%ED%A0%80',
    '%ED%BF%BF',
    '%FF',
    '%C0%AF',
    '%E2%82',
    '%F5%80%80%80',
    '%C3',
    'a%',
    '%u00e4',
  ]
  const places = [
    '/api/tasks?q=',
    '/api/tasks?limit=2&tag=',
    `/api/tasks/${ID}?wait=`,
    `/api/tasks/${ID}/logs?after=`,
    `/api/tasks/events?type=`,
    '/files/x/y?signature=',
    '/healthz?x=',
    '/?x=',
    '/nothing?x=',
  ]
  for (const place of places) {
    for (const text of wrong) {
      const answer = await get(place + text)
      isProblem(t, answer, 'malformed_url', place + text)
      const name = /[?&](\w+)=$/.exec(place)?.[1]
      t.match(answer.problem, { errors: [{ pointer: `/${name}` }] }, place + text)
    }
  }
  t.match((await get('/api/tasks?%zz=1')).problem, { code: 'malformed_url', errors: [{ pointer: '/%zz' }] })
  t.match((await get('/api/tasks?a%2Fb=%zz')).problem, { errors: [{ pointer: '/a~1b' }] })
})

t.test('a path that is not percent-encoded UTF-8 is refused', async (t) => {
  for (const text of ['%zz', '%', '%ED%A0%80', '%FF', '%C0%AF', '%E2%82']) {
    for (const place of ['/api/tasks/', `/api/tasks/${ID}/artifacts/`, '/', '/docs/'])
      isProblem(t, await get(place + text), 'malformed_url', place + text)
  }
})

t.test('a fragment, and the address of the server as a whole, are refused', async (t) => {
  for (const path of ['/#', `/#${'/'.repeat(15_000)}`, '/tasks/x#y', '/api/tasks?limit=1#', '*']) {
    const client = await openRaw(t, address)
    client.send(requestText(`GET ${path}`, { connection: 'close' }))
    const [answer] = readAnswers(await client.closed)
    if (answer === undefined) return t.fail('an answer')
    isProblem(t, answer, 'malformed_url', path.slice(0, 50))
  }
})

t.test('an address with unencoded bytes is refused instead of being misread', async (t) => {
  for (const path of ['/api/tasks?q=M\u00fcller', `/api/tasks/${ID}/artifacts/\u00fc.txt`, '/\u20ac']) {
    const client = await openRaw(t, address)
    client.send(Buffer.from(requestText(`GET ${path}`, { connection: 'close' })))
    const [answer] = readAnswers(await client.closed)
    if (answer === undefined) return t.fail('an answer')
    isProblem(t, answer, 'malformed_url', path)
  }
})

t.test('a well-encoded value is searched for as intended', async (t) => {
  const { id } = await createTask(address, { title: '100 % Müller & 🚀', delayMs: 86_400_000 })
  for (const text of ['100 % M', 'Müller', '🚀', '%', '& ']) {
    const { items } = (await (await fetch(`${address}/api/tasks?q=${encodeURIComponent(text)}`)).json()) as {
      items: { id: string }[]
    }
    t.same(
      items.map((item) => item.id),
      [id],
      text,
    )
  }
})

t.test('an address in a non-canonical form does not exist', async (t) => {
  const paths = [
    '//x',
    '//',
    '/%2e%2e/x',
    '/../x',
    '/..',
    '/a/../b',
    '/./x',
    '/%2e/x',
    '/api//tasks',
    '//api/tasks',
    '/api/./tasks',
    '/api/../healthz',
    '/%2e%2e%2f%2e%2e%2fetc/passwd',
    '/..%5c..%5cx',
    '/.git/config',
    '/x%00y',
    '/x\\y',
  ]
  for (const path of paths) isProblem(t, await get(path), 'not_found', path)
})

function send(
  headers: Record<string, string>,
  body = '{"title":"x","delayMs":86400000}',
): Promise<{ status: number; type: string | undefined; said: string; continued: boolean }> {
  return new Promise((resolve, reject) => {
    let continued = false
    const asked = request(
      `${address}/api/tasks`,
      { method: 'POST', headers: { 'content-type': 'application/json', 'content-length': body.length, ...headers } },
      (answer) => {
        let said = ''
        answer
          .setEncoding('utf8')
          .on('data', (chunk: string) => (said += chunk))
          .on('end', () =>
            resolve({ status: answer.statusCode ?? 0, type: answer.headers['content-type'], said, continued }),
          )
      },
    )
    asked.on('continue', () => {
      continued = true
      asked.end(body)
    })
    asked.on('error', reject)
    if (headers['expect'] === '100-continue') asked.flushHeaders()
    else asked.end(body)
  })
}

t.test('an unknown expectation is refused with 417', async (t) => {
  for (const expect of ['x', '200-ok', 'nothing=1; q', '100']) {
    const { status, type, said } = await send({ expect })
    t.equal(status, 417, expect)
    t.match(type, 'application/problem+json')
    t.match(JSON.parse(said), { code: 'expectation_failed', status: 417 })
  }
})

t.test('Expect: 100-continue is honoured', async (t) => {
  t.match(await send({ expect: '100-continue' }), { status: 202, continued: true })
})
