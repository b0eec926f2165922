import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import fc from 'fast-check'
import t from 'tap'
import { WebSocket } from 'ws'
import {
  createTask,
  runTask,
  watchTask,
  WatchError,
  type Connection,
  type TaskWatch,
} from '../../public/task-stream.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import { atDepth } from '../helpers/depth.js'
import {
  anyEndedHistory,
  endOf,
  makeTask,
  progress,
  refill,
  snapshot,
  TASK_ID,
  transition,
  type History,
} from './histories.js'
import { startStreamServer, type TestStream } from './stream-server.js'

const fast = { WebSocket, minDelayMs: 1, maxDelayMs: 4 }
const history: History = {
  first: makeTask(),
  messages: [
    transition(2, 'PROCESSING', { from: 'PENDING' }),
    progress(2, 0.5),
    transition(3, 'COMPLETED', { result: { pages: 3 } }),
  ],
}

/** Sends the messages of this stream and closes with 1000, as a healthy server does. */
function behave({ socket, send }: TestStream, since: number | undefined, lived = history): void {
  if (since === undefined) send(snapshot(lived.first), ...lived.messages)
  else send(...refill(lived, since))
  socket.close(1000)
}

t.test('a watch reports each change in order and ends with the final task', async (t) => {
  const { baseUrl } = await startStreamServer(t, { onStream: (stream, since) => behave(stream, since) })
  const called: number[] = []
  const states: string[] = []
  const watch = watchTask(TASK_ID, {
    ...fast,
    baseUrl,
    onChange: ({ task }) => called.push(task.version),
    onConnection: ({ state }) => states.push(state),
  })
  t.equal(watch.task, undefined)
  t.same(watch.connection, { state: 'connecting', text: 'Connecting…' })

  const seen: string[] = []
  for await (const { task, message } of watch) seen.push(`${message.type} ${task.status} ${task.version}`)
  t.same(seen, ['snapshot PENDING 1', 'transition PROCESSING 2', 'progress PROCESSING 2', 'transition COMPLETED 3'])
  t.same(called, [1, 2, 2, 3])
  t.same(states, ['live', 'finished'])
  t.same(await watch.finished, endOf(history))
  t.equal(watch.task, await watch.finished)
  t.equal(watch.connection.text, 'Finished: no more updates')
  for await (const change of watch) t.fail(`nothing follows the end, but ${change.message.type} did`)
})

t.test('whatever a server does to its connections, each version is reported once and in order', async (t) => {
  const anyFault = fc.record({
    sendCount: fc.nat({ max: 6 }),
    trouble: fc.constantFrom(
      'cut',
      'restart',
      'lost position',
      'silent end',
      'twice',
      'skip',
      'older snapshot',
      'not JSON',
    ),
  })
  let run: { history: History; faults: { sendCount: number; trouble: string }[] } | undefined
  const { baseUrl } = await startStreamServer(t, {
    onStream(stream, since) {
      if (run === undefined) return
      const fault = run.faults.shift()
      if (fault === undefined) behave(stream, since, run.history)
      else misbehave(stream, since, run.history, fault)
    },
  })
  await fc.assert(
    fc.asyncProperty(anyEndedHistory, fc.array(anyFault, { maxLength: 16 }), async (lived, faults) => {
      run = { history: lived, faults: [...faults] }
      const versions: number[] = []
      const watch = watchTask(TASK_ID, {
        ...fast,
        baseUrl,
        onChange: ({ task, message }) => void (message.type !== 'progress' && versions.push(task.version)),
      })
      const end = endOf(lived)
      assert.equal((await watch.finished).version, end.version)
      const firstSeen = versions[0] ?? 0
      assert.deepEqual(
        versions,
        Array.from({ length: end.version - firstSeen + 1 }, (_, index) => firstSeen + index),
      )
    }),
    { numRuns: atDepth(50, 500), timeout: 240_000 }, // the report of a watch that hangs includes the faults that caused it
  )
})

function misbehave(
  { socket, send }: TestStream,
  since: number | undefined,
  lived: History,
  fault: { sendCount: number; trouble: string },
): void {
  const all = since === undefined ? [snapshot(lived.first), ...lived.messages] : refill(lived, since)
  const some = all.slice(0, fault.sendCount)
  switch (fault.trouble) {
    case 'restart':
      send(...some)
      return socket.close(1012, 'the server restarts; retryAfterMs=3')
    case 'lost position':
      send(...some)
      return socket.close(4001)
    case 'silent end':
      send(...some)
      return socket.close(1000)
    case 'twice':
      send(...some.flatMap((message) => [message, message]), ...some)
      return socket.close(1001)
    case 'skip':
      send(...all.filter((_, index) => index !== fault.sendCount))
      return socket.close(1013)
    case 'older snapshot':
      send(...some, snapshot(lived.first))
      return socket.terminate()
    case 'not JSON':
      send(...some)
      return socket.send('<html>')
    default:
      send(...some)
      return socket.terminate()
  }
}

t.test('a gap is refilled at once, and with pauses when the server repeats it', async (t) => {
  const asked: (number | undefined)[] = []
  const states: string[] = []
  const { baseUrl } = await startStreamServer(t, {
    onStream(stream, since, index) {
      asked.push(since)
      if (index < 3) stream.send(snapshot(history.first), transition(3, 'COMPLETED'))
      else behave(stream, since)
    },
  })
  await watchTask(TASK_ID, { ...fast, baseUrl, onConnection: ({ state }) => states.push(state) }).finished
  t.same(asked, [undefined, 1, 1, 1])
  t.same(states, ['live', 'live', 'reconnecting', 'live', 'reconnecting', 'live', 'finished'])
})

t.test('no transport is given up for good', async (t) => {
  const { baseUrl, upgradesAt } = await startStreamServer(t, {
    onStream: (stream, since, index) => (index < 2 ? stream.socket.terminate() : behave(stream, since)),
    onRequest: (request, response) => {
      asked.push(request.url?.split('/').pop() ?? '')
      response.writeHead(502).end()
    },
  })
  const asked: string[] = []
  t.equal((await watchTask(TASK_ID, { ...fast, baseUrl }).finished).status, 'COMPLETED')
  t.equal(upgradesAt.length, 3)
  t.same(new Set(asked), new Set(['events', TASK_ID]), 'the other transports were tried in between')
})

t.test('a server that closes its connections does not count as a blocked transport', async (t) => {
  const { baseUrl, upgradesAt } = await startStreamServer(t, {
    onStream: (stream, since, index) => (index < 6 ? stream.socket.close(1012) : behave(stream, since)),
    onRequest: (request) => t.fail(`${request.url} was requested`),
  })
  t.equal((await watchTask(TASK_ID, { ...fast, baseUrl }).finished).status, 'COMPLETED')
  t.equal(upgradesAt.length, 7)
})

t.test('a restarting server decides when clients reconnect', async (t) => {
  const { baseUrl, upgradesAt } = await startStreamServer(t, {
    onStream(stream, since, index) {
      if (index > 0) return behave(stream, since)
      stream.send(snapshot(history.first))
      stream.socket.close(1012, 'retryAfterMs=350')
    },
  })
  const shown: Connection[] = []
  await watchTask(TASK_ID, { ...fast, baseUrl, onConnection: (connection) => shown.push(connection) }).finished
  t.ok(Number(upgradesAt[1]) - Number(upgradesAt[0]) >= 345)
  t.same(
    shown.map(({ state }) => state),
    ['live', 'reconnecting', 'live', 'finished'],
  )
  t.equal(shown[1]?.text, 'Reconnecting…')
  t.type(shown[1]?.retryAt, 'number')
})

t.test('a close code from 4500 to 4999 stops the watch and says why', async (t) => {
  const { baseUrl, upgradesAt } = await startStreamServer(t, { onStream: ({ socket }) => socket.close(4504) })
  const watch = watchTask(TASK_ID, { ...fast, baseUrl })
  const error = await watch.finished.catch((error: unknown) => error)
  t.match(error, new WatchError(4504, 'There is no such task'))
  t.same(watch.connection, { state: 'stopped', text: 'There is no such task' })
  await t.rejects(
    async () => {
      for await (const change of watch) t.fail(change.message.type)
    },
    { code: 4504 },
  )
  t.equal(upgradesAt.length, 1)
})

t.test('an upgrade refused because there is no such task stops the watch', async (t) => {
  const problem = {
    type: '/docs/problems',
    title: 'There is no such task',
    status: 404,
    code: 'task_not_found',
    detail: '',
    fix: '',
  }
  const { baseUrl, upgradesAt } = await startStreamServer(t, {
    onStream: () => t.fail('refused'),
    isRefused: () => true,
    onRequest: (_, response) =>
      response.writeHead(404, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem)),
  })
  const watch = watchTask(TASK_ID, { ...fast, baseUrl })
  await t.rejects(watch.finished, { code: 4504, message: 'There is no such task' })
  t.equal(upgradesAt.length, 1)
})

t.test('an upgrade refused for another reason is retried', async (t) => {
  const states: string[] = []
  const { baseUrl } = await startStreamServer(t, {
    onStream: (stream, since) => behave(stream, since),
    isRefused: (index) => index < 2,
    // A proxy's own 404 says nothing about the task.
    onRequest: (_, response) => response.writeHead(404, { 'content-type': 'text/html' }).end('no backend'),
  })
  const watch = watchTask(TASK_ID, { ...fast, baseUrl, onConnection: ({ state }) => states.push(state) })
  t.equal((await watch.finished).status, 'COMPLETED')
  t.same(states, ['away', 'away', 'live', 'finished'])
})

t.test('a server known to be back is contacted without waiting', async (t) => {
  const { baseUrl } = await startStreamServer(t, {
    onStream: (stream, since) => behave(stream, since),
    isRefused: (index) => index === 0,
  })
  const options = { WebSocket, baseUrl, minDelayMs: 2 ** 31 - 1, maxDelayMs: 2 ** 31 - 1 }
  const watch = watchTask(TASK_ID, {
    ...options,
    onConnection: ({ state }) => void (state === 'away' && setImmediate(() => watch.retryNow())),
  })
  t.equal((await watch.finished).status, 'COMPLETED')
  watch.retryNow()
  t.equal(watch.connection.state, 'finished', 'later it changes nothing')
})

t.test('a watch that starts with a task requests only later changes', async (t) => {
  const { baseUrl } = await startStreamServer(t, {
    onStream(stream, since) {
      t.equal(since, 1)
      behave(stream, since)
    },
  })
  const seen: string[] = []
  for await (const { message } of watchTask(TASK_ID, { ...fast, baseUrl, task: history.first })) seen.push(message.type)
  t.same(seen, ['transition', 'transition'])
})

t.test('a watch that starts with a finished task requests nothing', async (t) => {
  const watch = watchTask(TASK_ID, { ...fast, baseUrl: 'http://127.0.0.1:1', task: endOf(history) })
  t.same(await watch.finished, endOf(history))
  t.equal(watch.connection.state, 'finished')
})

t.test('an unknown position is answered with a snapshot that starts the history over', async (t) => {
  const { baseUrl } = await startStreamServer(t, {
    onStream({ send, socket }, since) {
      t.equal(since, 9)
      send({ ...snapshot(history.first), reset: true }, ...history.messages)
      socket.close(1000)
    },
  })
  const versions: number[] = []
  const watch = watchTask(TASK_ID, {
    ...fast,
    baseUrl,
    task: makeTask({ version: 9 }),
    onChange: ({ task }) => versions.push(task.version),
  })
  await watch.finished
  t.same(versions, [1, 2, 2, 3])
})

t.test('closing, aborting or leaving the loop ends the watch and its connection', async (t) => {
  const endings: Record<string, (watch: TaskWatch, aborter: AbortController) => unknown> = {
    close: (watch) => watch.close(),
    abort: (_, aborter) => aborter.abort(),
    break: async (watch) => {
      for await (const { task } of watch) if (task.version === 1) break
    },
  }
  for (const [name, end] of Object.entries(endings)) {
    t.test(name, async (t) => {
      const happened = new EventEmitter()
      const closed = once(happened, 'closed')
      const live = once(happened, 'live')
      const { baseUrl, upgradesAt } = await startStreamServer(t, {
        onStream({ socket, send }) {
          socket.on('close', () => happened.emit('closed'))
          send(snapshot(history.first))
        },
      })
      const aborter = new AbortController()
      const watch = watchTask(TASK_ID, {
        ...fast,
        baseUrl,
        signal: aborter.signal,
        onChange: () => happened.emit('live'),
      })
      if (name !== 'break') await live
      await end(watch, aborter)
      await t.rejects(watch.finished, { name: 'WatchError', code: 1000 })
      await closed
      t.equal(watch.connection.state, 'closed')
      watch.close()
      t.equal(upgradesAt.length, 1, 'it does not connect again')
    })
  }
})

t.test('a watch closed by the callback of the end has still seen the end', async (t) => {
  const { baseUrl } = await startStreamServer(t, { onStream: (stream, since) => behave(stream, since) })
  const watch = watchTask(TASK_ID, {
    ...fast,
    baseUrl,
    onChange: ({ task }) => void (task.finishedAt !== null && watch.close()),
  })
  t.equal((await watch.finished).status, 'COMPLETED')
})

t.test('a watch closed before its connection opened leaves none behind', async (t) => {
  const happened = new EventEmitter()
  const { baseUrl } = await startStreamServer(t, {
    onStream: ({ socket }) => socket.on('close', () => happened.emit('closed')),
  })
  const closed = once(happened, 'closed')
  watchTask(TASK_ID, { ...fast, baseUrl, onChange: () => t.fail('nothing is reported') }).close()
  await closed
})

t.test('a slow reader receives every transition and the latest progress', async (t) => {
  const steps = [0.125, 0.25, 0.375, 0.5].map((fraction) => progress(2, fraction))
  const messages: StreamMessage[] = [
    snapshot(history.first),
    transition(2, 'PROCESSING'),
    ...steps,
    transition(3, 'COMPLETED'),
  ]
  const { baseUrl } = await startStreamServer(t, { onStream: ({ send }) => send(...messages) })
  const watch = watchTask(TASK_ID, { ...fast, baseUrl })
  const reader = watch[Symbol.asyncIterator]()
  await watch.finished
  const seen: unknown[] = []
  for await (const { message, task } of reader)
    seen.push(message.type === 'progress' ? task.progress?.fraction : message.version)
  t.same(seen, [1, 2, 0.5, 3])
})

t.test('a task is created and run to its end; a refusal carries its problem', async (t) => {
  const problem = {
    title: 'There is no such task type',
    detail: 'No type is named nope.',
    code: 'unknown_type',
    errors: [],
  }
  const { baseUrl } = await startStreamServer(t, {
    onStream: (stream, since) => behave(stream, since),
    onRequest(request, response) {
      request.setEncoding('utf8').on('data', (body: string) => {
        t.equal(`${request.method} ${request.url}`, 'POST /taskwire/api/tasks')
        const { type } = JSON.parse(body) as { type?: string }
        if (type === 'nope')
          response.writeHead(422, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem))
        else response.writeHead(202, { 'content-type': 'application/json' }).end(JSON.stringify(history.first))
      })
    },
  })
  const options = { ...fast, baseUrl: `${baseUrl}/taskwire` }
  t.same(await createTask({ title: 'example task' }, options), history.first)
  t.same(
    await runTask({ title: 'example task' }, options),
    endOf({ ...history, messages: history.messages.filter(({ type }) => type !== 'progress') }),
  )
  await t.rejects(createTask({ type: 'nope' }, options), {
    name: 'ProblemError',
    message: 'No type is named nope.',
    problem: { ...problem, status: 422 },
  })
})

t.test('a missing prerequisite is reported at once', async (t) => {
  t.throws(() => watchTask(TASK_ID, { WebSocket }), {
    message: 'Outside a browser, pass baseUrl: the address of the server',
  })
  if (!('WebSocket' in globalThis))
    t.throws(() => watchTask(TASK_ID, { baseUrl: 'http://127.0.0.1:1', transports: ['websocket'] }), {
      message: /no WebSocket in this environment/,
    })
})
