/** The typed client: what the compiler accepts, and how a real server responds. */
import t from 'tap'
import type { BuiltInTypes, TaskTypesOf } from 'taskwire'
import { createClient, TaskEndedError } from '../../public/task-stream.js'
import type { Task } from '../../src/protocol/task.js'
import type { flaky, stages } from '../fixtures/tasks/outcomes.js'
import { startApp } from '../helpers/app.js'
import { OWN_TASKS } from '../helpers/processes.js'

const { address } = await startApp(t, ['worker', 'relay'], { TASKS_DIR: OWN_TASKS })
const client = createClient<BuiltInTypes & TaskTypesOf<[typeof flaky, typeof stages]>>({ baseUrl: address })

t.test('a result has the type that the definition declares', async (t) => {
  const { attempt } = await client.run('test.flaky', { failures: 1 })
  const isNumber: number = attempt
  t.equal(isNumber, 2)
  const slept = await client.run('demo.sleep', { steps: 1, stepMs: 1 }, { title: 'typed' })
  t.equal(slept.steps satisfies number, 1)
  t.equal((await client.create('report.generate', {})).type, 'report.generate')
  await t.rejects(client.run('demo.sleep', { steps: 1, stepMs: 1, failAt: 1 }), TaskEndedError)
})

t.test(
  'progress has the data that the definition declares; invalid data is dropped, and the log says so',
  async (t) => {
    const seen: string[] = []
    const { id } = await client.create('test.stages', {})
    await client.run(
      'test.stages',
      {},
      {},
      {
        onProgress({ done, data }) {
          const stage: string | undefined = data?.stage
          if (stage !== undefined) seen.push(`${done} ${stage}`)
        },
      },
    )
    t.same(seen, ['3 three'])
    await client.run(
      'demo.sleep',
      { steps: 1, stepMs: 1 },
      {},
      {
        onProgress({ data }) {
          // @ts-expect-error this type has no data
          t.equal(data?.stage, undefined)
        },
      },
    )
    const task = (await (await fetch(`${address}/api/tasks/${id}?wait=20`)).json()) as Task
    t.match(task, { status: 'COMPLETED', progress: { done: 3, data: { stage: 'three' } } })
    const { items } = (await (await fetch(`${address}/api/tasks/${id}/logs`)).json()) as { items: { text: string }[] }
    t.match(
      items.map(({ text }) => text),
      [/^the data of a progress report is left out: \/stage must be/],
      'once',
    )
    const { components } = (await (await fetch(`${address}/openapi.json`)).json()) as {
      components: { schemas: object }
    }
    t.match(components.schemas, { 'test.stages.progress': { properties: { stage: { type: 'string' } } } })
  },
)

t.test('invalid payloads are refused by the compiler and by the server', async (t) => {
  // @ts-expect-error there is no such type
  await t.rejects(client.create('no.such', {}), { problem: { code: 'unknown_type' } })
  // @ts-expect-error steps is a number
  await t.rejects(client.create('demo.sleep', { steps: 'many' }), { problem: { code: 'invalid_payload' } })
  // @ts-expect-error failures is missing
  await t.rejects(client.create('test.flaky', {}), { problem: { code: 'invalid_payload' } })
  // @ts-expect-error a priority is a number
  await t.rejects(client.create('demo.sleep', {}, { priority: 'high' }), { problem: { code: 'invalid_request' } })
})
