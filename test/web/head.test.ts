/** HEAD is answered with headers alone at every address with GET, and its connection stays usable. */
import t, { type Test } from 'tap'
import { startApp } from '../helpers/app.js'
import { openRaw, requestText } from '../helpers/raw-client.js'
import { createTask } from '../helpers/watch.js'

// The limit is one stream: if a stream stayed open, the next would be answered with 429.
const { address } = await startApp(t, [], { MAX_STREAMS_PER_ADDRESS: '1' })
const { id } = await createTask(address, { tags: ['head'], delayMs: 86_400_000 })
const { paths } = (await (await fetch(`${address}/openapi.json`)).json()) as { paths: Record<string, object> }
const DOCUMENTED = Object.keys(paths).filter((path) => 'get' in (paths[path] ?? {}))
const OTHERS = [
  '/',
  '/openapi.json',
  '/asyncapi.json',
  '/docs',
  '/task-stream.js',
  '/healthz',
  '/readyz',
  '/ws/tasks',
  `/ws/tasks/${id}`,
  '/nothing',
]
const WITH_QUERIES = [
  ...['list=5', `ids=${id}`, `list=5&ids=${id}`, 'tag=head', 'status=SCHEDULED', ''].map(
    (query) => `/api/tasks/events?${query}`,
  ),
  ...['logs=1', 'since=1', 'since=0'].map((query) => `/api/tasks/${id}/events?${query}`),
  ...['wait=300', 'wait=300&since=1', 'wait=300&since=0'].map((query) => `/api/tasks/${id}?${query}`),
]
const ACCEPTS = [undefined, '*/*', 'application/json', 'text/event-stream', 'text/plain', 'text/html']
const ADDRESSES = new Set([
  ...DOCUMENTED.map((path) => path.replace('{id}', id).replace('{name}', 'none.txt')),
  ...OTHERS,
  ...WITH_QUERIES,
])

/** Returns the head of the response to HEAD. The second request follows on the same connection. */
async function askHead(t: Test, path: string, accept?: string): Promise<string> {
  const client = await openRaw(t, address)
  client.send(requestText(`HEAD ${path}`, accept === undefined ? {} : { accept }))
  await client.heard(/\r\n\r\n/)
  client.send(requestText('GET /healthz', { connection: 'close' }))
  const said = await client.closed
  const [head = '', next = ''] = said.split('\r\n\r\n')
  t.match(next, /^HTTP\/1\.1 200 /, `HEAD ${path} has no body, and the next request is answered`)
  return head
}

t.test('after HEAD at any address, for any Accept, the next request on its connection is answered', async (t) => {
  t.ok(DOCUMENTED.length > 8, `${DOCUMENTED.length} addresses take GET`)
  for (const path of ADDRESSES) {
    for (const accept of ACCEPTS) {
      const head = await askHead(t, path, accept)
      t.notMatch(head, /^HTTP\/1\.1 (429|5)/, `HEAD ${path} of ${accept}`)
    }
  }
})

t.test('HEAD of a stream has the headers of the stream', async (t) => {
  for (const path of [`/api/tasks/${id}/events`, '/api/tasks/events?list=5']) {
    const head = await askHead(t, path, 'text/event-stream')
    t.match(head, /^HTTP\/1\.1 200 /)
    t.match(head.toLowerCase(), /content-type: text\/event-stream/)
    t.match(head.toLowerCase(), /cache-control: no-store/)
  }
})
