/** Statements are prepared once per connection, perhaps on empty tables, and must not slow down as the tables grow. */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import type { Database } from '../../src/db/database.js'
import { openDatabase } from '../../src/db/open.js'
import {
  findExpiredArtifacts,
  readArtifacts,
  recordArtifactIfCurrent,
  removeArtifactIfCurrent,
} from '../../src/store/artifacts.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { findEffect, recordEffect } from '../../src/store/attempts/effects.js'
import { renewLeasesIfHeld } from '../../src/store/attempts/lease.js'
import { readLatestLogs, recordLogsIfCurrent } from '../../src/store/attempts/logs.js'
import { recordProgressIfCurrent } from '../../src/store/attempts/progress.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { redeliverIfNewEpoch } from '../../src/store/deliveries/redeliver.js'
import { listWaitingQueues, takeDueDeliveries } from '../../src/store/deliveries/take-due.js'
import { exportPage } from '../../src/store/reads/export.js'
import { readAttempts, readTasks, readTransitions, readVersions } from '../../src/store/reads/tasks.js'
import { cancelTasksIfUnfinished } from '../../src/store/tasks/cancel.js'
import { readBatchOfKey } from '../../src/store/tasks/create-unique.js'
import { createTasksOnce, deleteExpiredKeys } from '../../src/store/tasks/create-once.js'
import { editTaskIfWaiting } from '../../src/store/tasks/edit.js'
import { expireTasksIfLate } from '../../src/store/tasks/expire.js'
import { newTask, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const TASKS = 20_000
/** The number of tuples that all steps below may read for one task. The tables hold a thousand times as many. */
const MOST_READ = 60

const server = await startPostgres(t)

/** Returns the number of tuples that all scans have read so far. First, the session flushes its own statistics. */
async function countRead(db: Database): Promise<number> {
  await db.run({ name: 'test_flush', text: 'select pg_stat_force_next_flush()' }, [])
  await db.run({ name: 'test_nothing', text: 'select 1' }, [])
  const text = `select (sum(seq_tup_read) + (select sum(idx_tup_read) from pg_stat_user_indexes where schemaname = 'taskwire'))::integer as read
    from pg_stat_user_tables where schemaname = 'taskwire'`
  const [row] = await db.run<{ read: number }>({ name: 'test_count_read', text }, [])
  return row?.read ?? Number.NaN
}

/** Creates each task twice, with the same key. */
async function createOnce(db: Database, count: number): Promise<void> {
  const tasks = Array.from({ length: count }, () => ({ ...newTask(), key: randomUUID(), fingerprint: 'x' }))
  for (let time = 0; time < 2; time += 1)
    await createTasksOnce(
      db,
      tasks.map((task) => ({ ...task, ...(time === 1 && { id: randomUUID() }) })),
      60_000,
      3_600_000,
    )
}

async function live(db: Database, ids: readonly string[]): Promise<void> {
  const refs = ids.map((taskId) => ({ taskId, attempt: 1 }))
  const progress = { fraction: 0.5, done: 1, total: 2, message: null }
  await takeDueDeliveries(db, 'default', 10, 60_000)
  await claimAttemptsIfDue(db, refs, 'w', 60_000)
  await renewLeasesIfHeld(db, refs, 60_000)
  await recordProgressIfCurrent(
    db,
    refs.map((ref) => ({ ...ref, progress })),
  )
  await recordLogsIfCurrent(
    db,
    refs.map((ref) => ({ ...ref, atMs: 0, level: 'info', text: 'a line' })),
  )
  for (const ref of refs) {
    await findEffect(db, ref, 'mail')
    await recordEffect(db, ref, 'mail', { value: 'sent' })
    await readLatestLogs(DEFAULT_PRINCIPAL, db, ref.taskId, 10)
  }
  await createOnce(db, refs.length)
  await deleteExpiredKeys(db, 10)
  await redeliverIfNewEpoch(db, 'test', 'the same', 30_000)
  await readTasks(DEFAULT_PRINCIPAL, db, ids)
  await readVersions(db, ids)
  await settleAttemptsIfCurrent(
    db,
    refs.map((ref) => ({ ...ref, outcome: 'completed', status: 'COMPLETED', reason: null })),
  )
  for (const id of ids) await readTransitions(DEFAULT_PRINCIPAL, db, id)
}

/** Statements that run for fewer tasks. */
async function change(db: Database, ids: readonly string[]): Promise<void> {
  const artifact = { name: 'a.txt', mediaType: 'text/plain', bytes: 1, sha256: '', ttlMs: 60_000 }
  await listWaitingQueues(db)
  await expireTasksIfLate(db, 10)
  for (const taskId of ids) {
    const ref = { taskId, attempt: 1 }
    await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, taskId, { title: 'edited' })
    await claimAttemptsIfDue(db, [ref], 'w', 60_000)
    await recordArtifactIfCurrent(db, ref, artifact)
    await readArtifacts(DEFAULT_PRINCIPAL, db, taskId)
    await removeArtifactIfCurrent(db, ref, artifact.name)
    await cancelTasksIfUnfinished(DEFAULT_PRINCIPAL, db, [taskId], { reason: null, withChildren: true })
    await readAttempts(DEFAULT_PRINCIPAL, db, taskId)
    await readBatchOfKey(DEFAULT_PRINCIPAL, db, taskId)
  }
  await findExpiredArtifacts(db, 10)
  await exportPage(DEFAULT_PRINCIPAL, db, {}, { format: 'csv', afterId: ids[0] ?? null, limit: 1, maxBytes: 1_000_000 })
}

for (const state of ['never analyzed', 'analyzed while nearly empty']) {
  t.test(`plans made on tables that were ${state} find rows by key in large ones`, async (t) => {
    const db = openDatabase(server.url, { maxConnections: 1 })
    t.teardown(() => db.close())
    if (state !== 'never analyzed') {
      await db.run(
        {
          name: 'test_empty',
          text: 'truncate taskwire.tasks, taskwire.transitions, taskwire.deliveries, taskwire.leases, taskwire.attempts, taskwire.logs, taskwire.effects, taskwire.idempotency_keys',
        },
        [],
      )
      await storeTasks(db, 1)
      await db.run({ name: 'test_vacuum', text: 'vacuum analyze' }, [])
    }
    // More than five executions: after the fifth, PostgreSQL may keep one plan for all values.
    for (let round = 0; round < 8; round += 1) {
      await live(db, await storeTasks(db, 4))
      await change(db, await storeTasks(db, 1, { more: { batchId: randomUUID(), parentId: randomUUID() } }))
    }
    const ids = await storeTasks(db, TASKS)
    for (let start = 0; start < TASKS; start += 1_000) await createOnce(db, 250)
    const beforeClaims = await countRead(db)
    for (let start = 0; start < TASKS / 2; start += 100) {
      await claimAttemptsIfDue(
        db,
        ids.slice(start, start + 100).map((taskId) => ({ taskId, attempt: 1 })),
        'w',
        60_000,
      )
    }

    const readByClaims = (await countRead(db)) - beforeClaims
    t.ok(readByClaims < (TASKS / 2) * MOST_READ, `${readByClaims} tuples read to claim ${TASKS / 2} tasks`)
    const before = await countRead(db)
    const mine = await storeTasks(db, 16)
    await live(db, mine)
    const read = (await countRead(db)) - before
    t.ok(read > mine.length, 'the statistics work')
    t.ok(read < mine.length * MOST_READ, `${read} tuples read for ${mine.length} tasks`)
    const beforeChange = await countRead(db)
    const changed = await storeTasks(db, 16)
    await change(db, changed)
    const readByChange = (await countRead(db)) - beforeChange
    t.ok(readByChange < changed.length * MOST_READ, `${readByChange} tuples read to change ${changed.length} tasks`)
  })
}
