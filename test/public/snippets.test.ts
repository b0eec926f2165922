import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { createSnippets } from '../../public/format/snippets.js'
import { makeTask, TASK_ID } from './histories.js'

const run = promisify(execFile)
const ORIGIN = 'http://localhost:3000'

t.test('the terminal snippets survive a shell, whatever the title and the payload contain', async (t) => {
  const nasty = `it's "$HOME" \`id\` \\ !! %s \n end`
  const task = makeTask({ title: nasty, payload: { nasty }, tags: [nasty], priority: 3 })
  const [read, create] = createSnippets(task, ORIGIN)
  t.equal(read?.code, `curl ${ORIGIN}/api/tasks/${TASK_ID}`)
  const printArguments = `curl() { printf '%s\\0' "$@"; }\n${create?.code ?? ''}`
  const { stdout } = await run('/bin/sh', ['-c', printArguments])
  const [url, , header, , body] = stdout.split('\0')
  t.equal(url, `${ORIGIN}/api/tasks`)
  t.equal(header, 'Content-Type: application/json')
  t.same(JSON.parse(body ?? ''), { title: nasty, type: 'demo.sleep', payload: { nasty }, priority: 3, tags: [nasty] })
})

t.test('a task like it has its queue, keys, cost and callback, and another unique key and start', async (t) => {
  const kept = {
    ...{ queue: 'slow', concurrencyKey: 'customer-4711', sequenceKey: 'document-17', onFailure: 'skip' as const },
    ...{ cost: 3, callbackUrl: 'https://example.com/hook' },
  }
  const task = makeTask({ ...kept, uniqueKey: 'u', runAt: '2026-11-20T21:22:23.456Z', title: 'one' })
  const [, create] = createSnippets(task, ORIGIN)
  const [, json = ''] = /-d '(.*)'$/s.exec(create?.code ?? '') ?? []
  t.same(JSON.parse(json), { title: 'one', type: 'demo.sleep', payload: {}, ...kept })
})

t.test('snippets contain no invisible or direction-changing characters', async (t) => {
  const hidden = 'a\u202Eb\u200Bc\u2066d\uFEFFe\u2028f\u0085g 👩‍🚀'
  const [, create] = createSnippets(makeTask({ title: hidden }), ORIGIN)
  const [, json = ''] = /-d '(.*)'$/s.exec(create?.code ?? '') ?? []
  t.match(json, 'a\\u202eb\\u200bc\\u2066d\\ufeffe\\u2028f\\u0085g')
  t.equal((JSON.parse(json) as { title: string }).title, hidden)
})

t.test('default values are omitted', async (t) => {
  const [, create] = createSnippets(makeTask({ title: 'plain' }), ORIGIN)
  t.match(create?.code, `-d '{"title":"plain","type":"demo.sleep","payload":{}}'`)
})

t.test('the console snippet names the stream, encrypted if the page is', async (t) => {
  t.match(createSnippets(makeTask(), ORIGIN)[2]?.code, `new WebSocket('ws://localhost:3000/ws/tasks/${TASK_ID}')`)
  t.match(
    createSnippets(makeTask(), 'https://tasks.example')[2]?.code,
    `new WebSocket('wss://tasks.example/ws/tasks/${TASK_ID}')`,
  )
})
