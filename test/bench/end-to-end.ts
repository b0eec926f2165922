/**
 * `end-to-end`: the throughput from tasks created over HTTP to tasks COMPLETED, stored and published; and the latency
 * from a create to the COMPLETED message on a WebSocket. Three role processes, real services, every commit synced,
 * no-op tasks.
 *
 * The reference is bare BullMQ on the same Redis: add a job, run an empty handler, receive the completed event. It
 * promises less: nothing is stored outside Redis.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Queue, QueueEvents, Worker } from 'bullmq'
import postgres from 'postgres'
import { Agent, request } from 'undici'
import { WebSocket } from 'ws'
import { openStack, quantile, readResidentMiB, type Stack } from './stack.js'

const TASKS = 20_000
const CONNECTIONS = 64
const LATENCY_ROUNDS = 5
const LATENCY_TASKS = 50
const LATENCY_PER_SECOND = 20
const BODY = JSON.stringify({ title: 'no-op', payload: { steps: 0 } })

export async function benchEndToEnd(): Promise<void> {
  const stack = await openStack()
  try {
    const roles = [await stack.startRole('relay'), await stack.startRole('worker'), await stack.startRole('web')]
    const address = roles[2]?.address ?? ''
    await sleep(3_000)
    const memory = await Promise.all(roles.map(({ child }) => readResidentMiB(child.pid ?? 0)))
    const bare = await openBareQueue(stack)
    await measureThroughput(stack, address, 2_000)
    await bare.throughput(2_000)

    const rates = []
    for (let round = 0; round < 3; round += 1) {
      const reference = await bare.throughput(TASKS)
      rates.push({ reference, ours: await measureThroughput(stack, address, TASKS) })
    }
    const ours = quantile(
      rates.map((rate) => rate.ours),
      0.5,
    )
    const reference = quantile(
      rates.map((rate) => rate.reference),
      0.5,
    )
    console.log(`end-to-end, ${TASKS} no-op tasks over ${CONNECTIONS} connections, medians of 3 rounds, taking turns`)
    console.log(`  bare BullMQ          ${reference.toFixed(0)} jobs/s (not stored elsewhere)`)
    console.log(
      `  taskwire             ${ours.toFixed(0)} tasks/s created to COMPLETED, stored and published   (target: 2500)`,
    )
    console.log(`  ratio                ${(ours / reference).toFixed(2)}`)

    await untilTidy(stack)
    const bareMs: number[] = []
    const oursMs: number[] = []
    for (let round = 0; round < LATENCY_ROUNDS; round += 1) {
      bareMs.push(...(await paced(() => bare.roundTrip())))
      oursMs.push(...(await paced(() => measureLatency(address))))
    }
    await bare.close()
    console.log(
      `latency at ${LATENCY_PER_SECOND} tasks/s, create to COMPLETED on a WebSocket opened after the create, ${LATENCY_ROUNDS} rounds of ${LATENCY_TASKS}, taking turns`,
    )
    console.log(
      `  bare BullMQ          p50 ${quantile(bareMs, 0.5).toFixed(1)} ms, p99 ${quantile(bareMs, 0.99).toFixed(1)} ms (add to completed event)`,
    )
    console.log(
      `  taskwire             p50 ${quantile(oursMs, 0.5).toFixed(1)} ms, p99 ${quantile(oursMs, 0.99).toFixed(1)} ms   (target: p50 8 ms)`,
    )
    console.log(`  ratio of p50         ${(quantile(oursMs, 0.5) / quantile(bareMs, 0.5)).toFixed(2)}`)
    const total = memory.reduce((sum, value) => sum + value, 0)
    console.log(
      `idle memory            relay, worker, web: ${memory.map((value) => value.toFixed(0)).join(' + ')} = ${total.toFixed(0)} MiB   (target: 350)`,
    )
  } finally {
    await stack.close()
  }
}

async function measureThroughput(stack: Stack, address: string, count: number): Promise<number> {
  const sql = postgres(stack.databaseUrl, { max: 1, onnotice: () => {} })
  const countEnded = async () => Number((await sql`select count(*) as count from taskwire.attempts`)[0]?.['count'])
  const before = await countEnded()
  const dispatcher = new Agent({ connections: CONNECTIONS, pipelining: 1 })
  const startedAtMs = performance.now()
  let left = count
  const create = async () => {
    while (left-- > 0) {
      const answer = await request(`${address}/api/tasks`, {
        method: 'POST',
        dispatcher,
        headers: { 'content-type': 'application/json' },
        body: BODY,
      })
      if (answer.statusCode !== 202) throw new Error(`refused with ${answer.statusCode}`)
      await answer.body.dump()
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, create))
  while ((await countEnded()) < before + count) await sleep(20)
  const perSecond = (count / (performance.now() - startedAtMs)) * 1_000
  await dispatcher.close()
  await sql.end()
  return perSecond
}

/**
 * Latency is measured on a quiet system: this waits, for at most a minute, until the autovacuum that the earlier rounds
 * caused has finished.
 */
async function untilTidy(stack: Stack): Promise<void> {
  const sql = postgres(stack.databaseUrl, { max: 1, onnotice: () => {} })
  for (let seconds = 0, quietSeconds = 0; quietSeconds < 3 && seconds < 60; seconds += 1) {
    await sleep(1_000)
    const vacuums = await sql`select from pg_stat_activity where backend_type = 'autovacuum worker'`
    quietSeconds = vacuums.count > 0 ? 0 : quietSeconds + 1
  }
  await sql.end()
}

async function measureLatency(address: string): Promise<number> {
  const startedAtMs = performance.now()
  const answer = await request(`${address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: BODY,
  })
  const { links } = (await answer.body.json()) as { links: { stream: string } }
  const socket = new WebSocket(`${address.replace('http', 'ws')}${links.stream}`, { perMessageDeflate: false })
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('message', (data: Buffer) => {
      const { status } = JSON.parse(data.toString()) as { status: string }
      if (status === 'COMPLETED') resolve(performance.now() - startedAtMs)
    })
  })
}

async function paced(measure: () => Promise<number>): Promise<number[]> {
  const running: Promise<number>[] = []
  for (let index = 0; index < LATENCY_TASKS; index += 1) {
    running.push(measure())
    await sleep(1_000 / LATENCY_PER_SECOND)
  }
  return Promise.all(running)
}

/** BullMQ as its documentation shows it, with the concurrency of a Taskwire worker. */
async function openBareQueue(stack: Stack) {
  const { hostname, port, password } = new URL(stack.redisUrl)
  const connection = { host: hostname, port: Number(port), password, maxRetriesPerRequest: null }
  const queue = new Queue('bare', { connection })
  const events = new QueueEvents('bare', { connection })
  let ended = 0
  const worker = new Worker('bare', async () => {}, { connection, concurrency: 64, removeOnComplete: { count: 0 } })
  worker.on('completed', () => (ended += 1))
  await Promise.all([worker.waitUntilReady(), events.waitUntilReady()])
  return {
    async throughput(count: number): Promise<number> {
      const target = ended + count
      const startedAtMs = performance.now()
      let left = count
      const add = async () => {
        while (left-- > 0) await queue.add('noop', { steps: 0 })
      }
      await Promise.all(Array.from({ length: CONNECTIONS }, add))
      while (ended < target) await sleep(5)
      return (count / (performance.now() - startedAtMs)) * 1_000
    },
    async roundTrip(): Promise<number> {
      const startedAtMs = performance.now()
      const job = await queue.add('noop', { steps: 0 })
      await job.waitUntilFinished(events)
      return performance.now() - startedAtMs
    },
    async close() {
      await Promise.all([worker.close(), events.close(), queue.close()])
    },
  }
}
