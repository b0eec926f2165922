/** Reading a task for a stream: large payloads and results stay in PostgreSQL. */
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { readWatchedTasks } from '../../src/store/reads/tasks.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const postgres = await startPostgres(t)
const db = await openTestDatabase(t, postgres.url)

t.test(
  'a small task is read whole; a task whose stored size or text is large is read without payload and result',
  async (t) => {
    const random = Array.from({ length: 1_000 }, () => Math.random())
    const payloads = {
      small: { text: 'é'.repeat(1_000) },
      compressible: { text: 'x'.repeat(200_000) },
      random: { random },
      none: null,
    }
    for (const [name, payload] of Object.entries(payloads)) {
      const [id = ''] = await storeTasks(db, 1, { payload })
      const [task] = await readWatchedTasks(DEFAULT_PRINCIPAL, db, [id])
      const isLarge = name === 'compressible' || name === 'random'
      t.match(task, { id, isLarge, status: 'PENDING' }, name)
      t.same(task?.payload, isLarge ? null : payload, name)
      await db.run(
        {
          name: 'test_result',
          forceCustomPlan: true,
          text: `update taskwire.tasks set payload = '{}', result = $2::text::jsonb where id = $1::text::uuid`,
        },
        [id, JSON.stringify(payload)],
      )
      const [after] = await readWatchedTasks(DEFAULT_PRINCIPAL, db, [id])
      t.equal(after?.isLarge, isLarge, `${name} as a result`)
      t.same(after?.result, isLarge ? null : payload)
    }
  },
)
