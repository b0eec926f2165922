/** Tasks written in one batch are decided individually. */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../../src/access/principal.js'
import type { Delivery } from '../../../src/broker/broker.js'
import { TaskCreator } from '../../../src/tasks/create/task-creator.js'
import { newTask, openTestDatabase } from '../../helpers/database.js'
import { startPostgres } from '../../helpers/services.js'

t.test('tasks of a busy queue wait for the relay, and tasks written with them do not', async (t) => {
  const db = await openTestDatabase(t, (await startPostgres(t)).url)
  const handed: Delivery[] = []
  const dispatcher = {
    isOpen: (queue: string) => queue !== 'busy',
    add: (deliveries: readonly Delivery[]) => void handed.push(...deliveries),
    stop() {},
  }
  const creator = new TaskCreator({
    db,
    dispatcher,
    gates: { mark: (task) => task },
    releaser: { wake() {} },
    announce() {},
    publish() {},
    claimWindowMs: 60_000,
    keyTtlMs: 60_000,
  })
  const make = () => ['default', 'busy', 'default', 'emails'].map((queue) => newTask({ queue }))
  const withUnique = make().map((task, index) => ({ ...task, more: { uniqueKey: `key ${index}` } }))
  const [plain, keyed, batch] = [make(), make(), make()]
  await Promise.all([
    ...plain.map((task) => creator.accept(DEFAULT_PRINCIPAL, task, undefined)),
    ...keyed.map((task, index) => creator.accept(DEFAULT_PRINCIPAL, task, { key: `key ${index}`, fingerprint: 'x' })),
    creator.acceptAll(DEFAULT_PRINCIPAL, batch, undefined),
    creator.acceptAll(DEFAULT_PRINCIPAL, withUnique, undefined),
  ])
  const all = [...plain, ...keyed, ...batch, ...withUnique]
  t.same(
    handed.map(({ taskId }) => taskId).sort(),
    all
      .filter(({ queue }) => queue !== 'busy')
      .map(({ id }) => id)
      .sort(),
  )
  const due = await db.run<{ id: string }>(
    { name: 'test_due', text: 'select task_id as id from taskwire.deliveries where due_at <= now()' },
    [],
  )
  t.same(
    due.map(({ id }) => id).sort(),
    all
      .filter(({ queue }) => queue === 'busy')
      .map(({ id }) => id)
      .sort(),
    'the relay delivers them at once',
  )
})
