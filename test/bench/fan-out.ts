/**
 * `fan-out`: the time from a publication to the last of N watchers of one task, for a progress message and for the end,
 * against a bare ws server on the same Redis channels; how fast watchers connect; and how much memory an idle one
 * takes. The two servers take turns at each N.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { openBroker } from '../../src/broker/open-broker.js'
import { openDatabase } from '../../src/db/open.js'
import type { Event } from '../../src/protocol/stream.js'
import { claimAttemptsIfDue } from '../../src/store/attempts/claim.js'
import { recordProgressIfCurrent } from '../../src/store/attempts/progress.js'
import { settleAttemptsIfCurrent } from '../../src/store/attempts/settle.js'
import { createTasks } from '../../src/store/tasks/create.js'
import { createTaskId } from '../../src/tasks/create/task-id.js'
import { newTask } from '../helpers/database.js'
import { launch, MAIN, type RoleProcess } from '../helpers/roles.js'
import { median, openStack, readResidentMiB } from './stack.js'

const WATCHERS = [100, 1_000, 5_000, 10_000]
const ROUNDS = 3
const PUBLICATIONS = 15
const CONNECTING_AT_ONCE = 100

interface Figures {
  lastMs: number[]
  endMs: number[]
  connectedPerSecond: number[]
  kibPerWatcher: number[]
}

export async function benchFanOut(): Promise<void> {
  const stack = await openStack()
  const log = { info() {}, warn() {} }
  const db = openDatabase(stack.databaseUrl)
  const broker = await openBroker({ redisUrl: stack.redisUrl, databaseUrl: stack.databaseUrl, log })
  const env = {
    DATABASE_URL: stack.databaseUrl,
    REDIS_URL: stack.redisUrl,
    PORT: '0',
    LOG_LEVEL: 'warn',
    MAX_STREAMS_PER_ADDRESS: '20000',
  }
  const web = await launch(MAIN, { args: ['web'], env })
  const bare = await stack.startModule('./bare-fan-out.js')
  try {
    const startTask = async (): Promise<Watched> => {
      const taskId = createTaskId()
      await createTasks(db, [newTask({ id: taskId, title: 'watched' })], 3_600_000)
      await claimAttemptsIfDue(db, [{ taskId, attempt: 1 }], 'bench', 3_600_000)
      const publish = async (messages: readonly Event[]) => {
        const startedAtMs = performance.now()
        await broker.events.publish(messages)
        return startedAtMs
      }
      return {
        path: `/ws/tasks/${taskId}`,
        report: async (done) =>
          publish(
            await recordProgressIfCurrent(db, [
              { taskId, attempt: 1, progress: { fraction: 0.5, done, total: null, message: null } },
            ]),
          ),
        end: async () => {
          const ended = await settleAttemptsIfCurrent(db, [
            { taskId, attempt: 1, outcome: 'completed', status: 'COMPLETED', reason: null, result: null },
          ])
          return publish(ended.filter((message) => message !== undefined))
        },
      }
    }

    console.log(`fan-out of one task, medians of ${ROUNDS} turns of ${PUBLICATIONS} publications`)
    for (const count of WATCHERS) {
      const ours: Figures = { lastMs: [], endMs: [], connectedPerSecond: [], kibPerWatcher: [] }
      const reference: Figures = { lastMs: [], endMs: [], connectedPerSecond: [], kibPerWatcher: [] }
      for (let round = 0; round < ROUNDS; round += 1) {
        await measure(bare, { ...(await startTask()), path: '/' }, count, reference)
        await measure(web, await startTask(), count, ours)
      }
      report(count, ours, reference)
    }
  } finally {
    await web.stop()
    await broker.close()
    await db.close()
    await stack.close()
  }
}

/** A running task. `report` and `end` publish, and resolve with the time of the publication. */
interface Watched {
  path: string
  report(done: number): Promise<number>
  end(): Promise<number>
}

async function measure(
  server: RoleProcess,
  { path, report, end }: Watched,
  count: number,
  figures: Figures,
): Promise<void> {
  const before = await readResidentMiB(server.child.pid ?? 0)
  const startedAtMs = performance.now()
  const sockets = await connectAll(server.address.replace('http', 'ws') + path, count)
  figures.connectedPerSecond.push((count / (performance.now() - startedAtMs)) * 1_000)
  await sleep(500)
  figures.kibPerWatcher.push((((await readResidentMiB(server.child.pid ?? 0)) - before) * 1_024) / count)
  let missing = 0
  let onLast = () => {}
  for (const socket of sockets) {
    socket.on('message', () => {
      missing -= 1
      if (missing === 0) onLast()
    })
  }
  const time = async (publish: () => Promise<number>) => {
    missing = count
    const last = new Promise<void>((resolve) => (onLast = resolve))
    const publishedAtMs = await publish()
    await last
    return performance.now() - publishedAtMs
  }
  for (let index = 0; index < PUBLICATIONS; index += 1) figures.lastMs.push(await time(() => report(index)))
  const closed = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))))
  figures.endMs.push(await time(end))
  await closed
  await sleep(1_500)
}

/** Opens the connections. Each counts as connected when its first message has arrived. */
async function connectAll(url: string, count: number): Promise<WebSocket[]> {
  const sockets: WebSocket[] = []
  let left = count
  const connect = async () => {
    while (left-- > 0) {
      const socket = new WebSocket(url, { perMessageDeflate: false })
      await new Promise<void>((resolve, reject) => socket.once('message', () => resolve()).once('error', reject))
      sockets.push(socket)
    }
  }
  await Promise.all(Array.from({ length: Math.min(CONNECTING_AT_ONCE, count) }, connect))
  return sockets
}

function report(count: number, ours: Figures, reference: Figures): void {
  const [last, bareLast] = [median(ours.lastMs), median(reference.lastMs)]
  const [end, bareEnd] = [median(ours.endMs), median(reference.endMs)]
  const [rate, bareRate] = [median(ours.connectedPerSecond), median(reference.connectedPerSecond)]
  console.log(
    `  ${String(count).padStart(6)} watchers: last message after ${last.toFixed(1)} ms, bare ws ${bareLast.toFixed(1)} ms, ratio ${(last / bareLast).toFixed(2)}   (target: 1.15)`,
  )
  console.log(
    `         last end message after ${end.toFixed(1)} ms, bare ws that sends, then closes ${bareEnd.toFixed(1)} ms, ratio ${(end / bareEnd).toFixed(2)}   (target: 1.15)`,
  )
  console.log(
    `         connects with snapshot ${rate.toFixed(0)}/s, bare ws ${bareRate.toFixed(0)}/s, ratio ${(rate / bareRate).toFixed(2)}   (target: 0.50)`,
  )
  // Only the first turn is reported: it grows the heap, and later turns reuse that memory.
  console.log(
    `         memory ${ours.kibPerWatcher[0]?.toFixed(1)} KiB a watcher, bare ws ${reference.kibPerWatcher[0]?.toFixed(1)} KiB   (target: 10 at 10,000)`,
  )
}
