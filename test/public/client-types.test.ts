/** The client that knows the types of task: what the compiler lets through, and what a real server makes of it. */
import t from 'tap'
import type { BuiltInTypes, TaskTypesOf } from 'taskwire'
import { createClient, TaskEndedError } from '../../public/task-stream.js'
import { startApp } from '../helpers/app.js'
import { OWN_TASKS } from '../helpers/processes.js'
import type { flaky } from '../fixtures/tasks/outcomes.js'

const { address } = await startApp(t, ['worker', 'relay'], { TASKS_DIR: OWN_TASKS })
const client = createClient<BuiltInTypes & TaskTypesOf<[typeof flaky]>>({ baseUrl: address })

t.test('a result has the type that the definition says', async (t) => {
  const { attempt } = await client.run('test.flaky', { failures: 1 })
  const isNumber: number = attempt
  t.equal(isNumber, 2)
  const slept = await client.run('demo.sleep', { steps: 1, stepMs: 1 }, { title: 'typed' })
  t.equal(slept.steps satisfies number, 1)
  t.equal((await client.create('report.generate', {})).type, 'report.generate')
  await t.rejects(client.run('demo.sleep', { steps: 1, stepMs: 1, failAt: 1 }), TaskEndedError)
})

t.test('what does not fit is refused by the compiler, and by the server', async (t) => {
  // @ts-expect-error there is no such type
  await t.rejects(client.create('no.such', {}), { problem: { code: 'unknown_type' } })
  // @ts-expect-error steps is a number
  await t.rejects(client.create('demo.sleep', { steps: 'many' }), { problem: { code: 'invalid_payload' } })
  // @ts-expect-error failures is missing
  await t.rejects(client.create('test.flaky', {}), { problem: { code: 'invalid_payload' } })
  // @ts-expect-error a priority is a number
  await t.rejects(client.create('demo.sleep', {}, { priority: 'high' }), { problem: { code: 'invalid_request' } })
})
