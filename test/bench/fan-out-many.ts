/**
 * `fan-out-many`: 10,000 watchers of 10,000 tasks, and 1,000 transitions a second. Measures the time from a change,
 * before its commit, to its watcher, and counts lost messages. There is no reference to compare with.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { openBroker } from '../../src/broker/open-broker.js'
import { openDatabase } from '../../src/db/open.js'
import type { StreamMessage } from '../../src/protocol/stream.js'
import type { TaskId } from '../../src/protocol/task.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { toTransitionMessage } from '../../src/store/rows.js'
import { createTasks } from '../../src/store/tasks/create.js'
import { createTaskId } from '../../src/tasks/create/task-id.js'
import { newTask } from '../helpers/database.js'
import { launch, MAIN } from '../helpers/roles.js'
import { openStack } from './stack.js'

const TASKS = 10_000
const BATCH = 50
const BATCH_EVERY_MS = 50
const CONNECTING_AT_ONCE = 100
const LEASE_MS = 3_600_000
const GRACE_MS = 10_000

export async function benchFanOutMany(): Promise<void> {
  const stack = await openStack()
  const db = openDatabase(stack.databaseUrl)
  const broker = await openBroker({
    redisUrl: stack.redisUrl,
    databaseUrl: stack.databaseUrl,
    log: { info() {}, warn() {} },
  })
  const env = {
    DATABASE_URL: stack.databaseUrl,
    REDIS_URL: stack.redisUrl,
    PORT: '0',
    LOG_LEVEL: 'warn',
    MAX_STREAMS_PER_ADDRESS: '20000',
  }
  const web = await launch(MAIN, { args: ['web'], env })
  const sockets: WebSocket[] = []
  try {
    const ids = Array.from({ length: TASKS }, () => createTaskId())
    const make = (id: TaskId) => newTask({ id, title: 'watched' })
    for (const batch of batches(ids)) await createTasks(db, batch.map(make), LEASE_MS)

    const stories = new Map<TaskId, number[]>(ids.map((id) => [id, []]))
    const changedAtMs = new Map<TaskId, number>()
    const tookMs: number[] = []
    const hear = (data: Buffer) => {
      const { taskId, version } = JSON.parse(data.toString()) as StreamMessage
      const startedAtMs = changedAtMs.get(taskId)
      if (startedAtMs !== undefined) tookMs.push(performance.now() - startedAtMs)
      stories.get(taskId)?.push(version)
    }
    const connectedAtMs = performance.now()
    const waiting = [...ids]
    const connect = async () => {
      for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
        const socket = new WebSocket(`${web.address.replace('http', 'ws')}/ws/tasks/${id}`, {
          perMessageDeflate: false,
        })
        sockets.push(socket.on('message', hear))
        await new Promise<void>((resolve, reject) => socket.once('message', () => resolve()).once('error', reject))
      }
    }
    await Promise.all(Array.from({ length: CONNECTING_AT_ONCE }, connect))
    const connectSeconds = (performance.now() - connectedAtMs) / 1_000

    /** Changes every task once, at a steady rate. */
    const changeAll = async (change: (batch: TaskId[]) => Promise<Parameters<typeof broker.events.publish>[0]>) => {
      changedAtMs.clear()
      const startedAtMs = performance.now()
      const running: Promise<void>[] = []
      for (const [index, batch] of batches(ids).entries()) {
        await sleep(Math.max(0, startedAtMs + index * BATCH_EVERY_MS - performance.now()))
        for (const id of batch) changedAtMs.set(id, performance.now())
        running.push(change(batch).then((events) => broker.events.publish(events)))
      }
      await Promise.all(running)
      const deadlineMs = performance.now() + GRACE_MS
      while (tookMs.length % TASKS !== 0 && performance.now() < deadlineMs) await sleep(20)
      return TASKS / ((performance.now() - startedAtMs) / 1_000)
    }
    const rate = await changeAll(async (batch) => {
      const claimed = await claimAttemptsIfDue(
        db,
        batch.map((taskId) => ({ taskId, attempt: 1 })),
        'bench',
        LEASE_MS,
      )
      return claimed.flatMap((one) => (one ? [toTransitionMessage({ ...one, taskId: one.id, reason: null })] : []))
    })
    await changeAll(async (batch) => {
      const completed = batch.map(
        (taskId) =>
          ({ taskId, attempt: 1, outcome: 'completed', status: 'COMPLETED', reason: null, result: null }) as const,
      )
      return (await settleAttemptsIfCurrent(db, completed)).flatMap((message) => message ?? [])
    })

    const sorted = tookMs.toSorted((a, b) => a - b)
    const at = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? NaN).toFixed(1)
    const broken = [...stories.values()].filter((versions) => versions.join() !== '1,2,3').length
    console.log(
      `fan-out-many: ${TASKS} watchers of ${TASKS} tasks, connected in ${connectSeconds.toFixed(1)} s; ${rate.toFixed(0)} transitions/s`,
    )
    console.log(
      `  change to watcher: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, at most ${at(0.999999)} ms   (target: p99 50)`,
    )
    console.log(`  ${tookMs.length} messages received; watchers that did not see 1, 2, 3: ${broken}   (target: 0)`)
  } finally {
    for (const socket of sockets) socket.terminate()
    await web.stop()
    await broker.close()
    await db.close()
    await stack.close()
  }
}

function batches(ids: readonly TaskId[]): TaskId[][] {
  return Array.from({ length: Math.ceil(ids.length / BATCH) }, (_, index) =>
    ids.slice(index * BATCH, (index + 1) * BATCH),
  )
}
