/** Ready-made snippets that do elsewhere what the page does. Pure. */
import { snippets as text } from '../text/en.js'
import { makeExample } from './schema.js'

/**
 * The snippets of a task: `{ title, hint, code }`. `origin` is the address of the server, e.g. `http://localhost:3000`.
 */
export function createSnippets(task, origin) {
  const stream = `${origin.replace(/^http/, 'ws')}/ws/tasks/${task.id}`
  return [
    { title: text.read, hint: text.terminal, code: `curl ${origin}/api/tasks/${task.id}` },
    {
      title: text.createAgain,
      hint: text.terminal,
      code: [
        `curl ${origin}/api/tasks`,
        `-H 'Content-Type: application/json'`,
        `-d ${quoteForShell(toVisibleJson(describeCreation(task)))}`,
      ].join(' \\\n  '),
    },
    {
      title: text.watch,
      hint: text.console,
      code: `new WebSocket(${quote(stream)})\n  .onmessage = (e) => console.log(JSON.parse(e.data).status)`,
    },
    {
      title: text.watchThroughout,
      hint: text.javaScript,
      code: [
        `const { watchTask } = await import(${quote(`${origin}/task-stream.js`)})`,
        `const watch = watchTask(${quote(task.id)}, { baseUrl: ${quote(origin)} })`,
        `for await (const { task } of watch) console.log(task.version, task.status)`,
      ].join('\n'),
    },
  ]
}

/** The snippets of a task type, with an example payload. */
export function createTypeSnippets({ type, payload }, origin) {
  const example = makeExample(payload)
  const body = { type, ...(example !== null && Object.keys(example).length > 0 && { payload: example }) }
  return [
    {
      title: text.create,
      hint: text.terminal,
      code: [
        `curl ${origin}/api/tasks`,
        `-H 'Content-Type: application/json'`,
        `-d ${quoteForShell(toVisibleJson(body))}`,
      ].join(' \\\n  '),
    },
    {
      title: text.createAndWait,
      hint: text.typeScript,
      code: [
        `import { createClient } from 'taskwire/client'`,
        '',
        `const client = createClient({ baseUrl: ${quote(origin)} })`,
        `const result = await client.run(${quote(type)}, ${JSON.stringify(example ?? {})})`,
      ].join('\n'),
    },
  ]
}

/**
 * The body that creates such a task, without fields that equal their defaults. Not its unique key and its times: with
 * these, the create would return this task, or make one that has expired.
 */
function describeCreation({ title, type, payload, priority, tags, queue, ...task }) {
  return {
    title,
    type,
    payload,
    ...(priority !== 0 && { priority }),
    ...(tags.length > 0 && { tags }),
    ...(queue !== 'default' && { queue }),
    ...(task.concurrencyKey !== null && { concurrencyKey: task.concurrencyKey }),
    ...(task.sequenceKey !== null && { sequenceKey: task.sequenceKey }),
    ...(task.onFailure === 'skip' && { onFailure: task.onFailure }),
    ...(task.cost !== 1 && { cost: task.cost }),
    ...(task.callbackUrl !== null && { callbackUrl: task.callbackUrl }),
  }
}

/** JSON without hidden characters: characters that are invisible or change the direction of text are escaped. */
function toVisibleJson(value) {
  return JSON.stringify(value).replace(/[\p{Cf}\p{Zl}\p{Zp}\u007F-\u009F]/gu, (character) => {
    return [...Array(character.length).keys()]
      .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`)
      .join('')
  })
}

/** POSIX shells take everything between single quotes literally, except the single quote. */
function quoteForShell(value) {
  return `'${value.replaceAll("'", `'\\''`)}'`
}

function quote(value) {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
