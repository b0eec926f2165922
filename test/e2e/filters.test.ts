/**
 * Every filter of `src/protocol/filter.ts` in every place that filters tasks: REST, a live list, a selection, an export
 * and the page all find the same tasks.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { WebSocket } from 'ws'
import { watchList, watchTasks } from '../../public/task-stream.js'
import { tasksExport } from '../../src/handlers/tasks-export.js'
import { FILTER_NAMES, type FilterName } from '../../src/protocol/filter.js'
import type { Task, TaskId } from '../../src/protocol/task.js'
import { createTaskId } from '../../src/tasks/create/task-id.js'
import { runDefinition } from '../../src/testing/run-definition.js'
import { startApp } from '../helpers/app.js'
import { launchBrowser } from '../helpers/browser.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { definePageTests } from '../helpers/page.js'

const { address, databaseUrl } = await startApp(t)
const db = await openTestDatabase(t, databaseUrl)
const testPage = definePageTests(t, await launchBrowser(t), address)
const read = async (id: TaskId) => (await (await fetch(`${address}/api/tasks/${id}`)).json()) as Task

/** No worker runs here: tasks that may start stay PENDING. */
const others = await storeTasks(db, 2, { delayMs: 86_400_000 })
const [parentId = ''] = others
const batchId = createTaskId()
/** Separates the creation times, which are PostgreSQL's, in milliseconds. */
await sleep(5)
const LIKE_WANTED = {
  title: 'the Wanted report',
  type: 'report.generate',
  queue: 'wanted',
  tags: ['wanted'],
  payload: {},
  more: { batchId, parentId },
}
const wanted = await storeTasks(db, 2, LIKE_WANTED)
const { createdAt } = await read(wanted[0] ?? '')

const CLIENT = { baseUrl: address, WebSocket }
const watch = (filter: object) => ({
  list: watchList({ filter, limit: 20 }, CLIENT),
  selected: watchTasks(filter, CLIENT),
})

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(10)
}

/** A value of each filter, and the tasks that match it. */
const CASES = {
  status: { value: 'PENDING', ids: wanted },
  type: { value: 'report.generate', ids: wanted },
  tag: { value: 'wanted', ids: wanted },
  queue: { value: 'wanted', ids: wanted },
  batch: { value: batchId.toUpperCase(), ids: wanted },
  parent: { value: parentId.toUpperCase(), ids: wanted },
  createdAfter: { value: createdAt, ids: wanted },
  createdBefore: { value: createdAt, ids: others },
  q: { value: 'wANTED rep', ids: wanted },
} satisfies Record<FilterName, { value: string; ids: readonly TaskId[] }>

for (const name of FILTER_NAMES) {
  const { value, ids } = CASES[name]
  const expected = ids.toSorted()
  const filter = { [name]: value }

  t.test(`${name}: REST, list, selection and export find the same tasks`, async (t) => {
    const { items } = (await (await fetch(`${address}/api/tasks?${new URLSearchParams(filter)}`)).json()) as {
      items: Task[]
    }
    t.same(items.map(({ id }) => id).toSorted(), expected, 'REST')

    const { list, selected } = watch(filter)
    await until(() => list.view !== undefined && selected.tasks.size >= expected.length)
    t.same(list.view?.items.map(({ id }) => id).toSorted(), expected, 'list')
    t.same([...selected.tasks.keys()].toSorted(), expected, 'selection')
    list.close()
    selected.close()

    const run = await runDefinition(tasksExport, { format: 'ndjson', ...filter }, { db })
    const lines = run.reported.artifacts.get('tasks.ndjson')?.content.toString().trim().split('\n') ?? []
    t.same(lines.map((line) => (JSON.parse(line) as Task).id).toSorted(), expected, 'export')
  })

  testPage(`${name}: the page reads the filter from its address`, {}, async (t, page) => {
    await page.goto(`/?${new URLSearchParams(filter)}`)
    await page
      .locator('#list .row')
      .nth(expected.length - 1)
      .waitFor()
    const shown = await page
      .locator('#list .row')
      .evaluateAll((rows) => rows.map((row) => row.getAttribute('href')?.split('/').pop()))
    t.same(shown.toSorted(), expected)
  })
}

t.test('a task that begins to match joins the list and the selection of each filter', async (t) => {
  const watches = FILTER_NAMES.filter((name) => CASES[name].ids === wanted).map((name) => ({
    name,
    ...watch({ [name]: CASES[name].value }),
  }))
  await until(() => watches.every(({ list, selected }) => list.view !== undefined && selected.tasks.size > 0))
  const [id = ''] = await storeTasks(db, 1, LIKE_WANTED)
  await fetch(`${address}/api/tasks/${id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ priority: 5 }),
  })
  // The selection of a batch is fixed when the watch begins: the new task does not join it.
  const hasJoined = ({ name, list, selected }: (typeof watches)[number]) =>
    list.view?.items.some((row) => row.id === id && row.priority === 5) &&
    (name === 'batch' || selected.tasks.get(id)?.priority === 5)
  await until(() => watches.every(hasJoined))
  for (const { name, list, selected } of watches) {
    t.equal(list.view?.items.length, 3, name)
    list.close()
    selected.close()
  }
})
