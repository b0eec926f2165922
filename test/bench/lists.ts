/**
 * `lists`: how long a page of a list takes over millions of tasks, against the same request over as many tasks as one page shows, and over
 * no task at all (where the answer has no row, and writing fifty takes longer than finding them); and what a create costs there.
 *
 * Three web processes, each with a PostgreSQL of its own, take turns. `BENCH_TASKS` says how many tasks the large one has: 2,000,000
 * unless it is set. Of 1,000 tasks one has the rare type, one the rare tag, and one is FAILED; one in 100,000 has the rare word in its title.
 */
import pg from 'pg'
import type { RoleProcess } from '../helpers/roles.js'
import { readCpuMs } from './cpu-time.js'
import { requestInLoop } from './http-load.js'
import { fillTasks } from './many-tasks.js'
import { describe, median, openStack, type Stack } from './stack.js'

const TASKS = Number(process.env['BENCH_TASKS'] ?? 2_000_000)
const CONNECTIONS = 4
const SECONDS = 0.5
const ROUNDS = 5
const CREATE_ROUNDS = 21
const DAY_MS = 86_400_000

const ago = (share: number) => new Date(Date.now() - share * DAY_MS).toISOString()

/** As in an address. The tasks were created in the course of the last day. */
const LISTS: Readonly<Record<string, string>> = {
  'no filter': '',
  'rare type': 'type=rare',
  'rare tag': 'tag=rare',
  'a type that there is not': 'type=none',
  'status FAILED': 'status=FAILED',
  'status PENDING': 'status=PENDING',
  'status COMPLETED': 'status=COMPLETED',
  'created in the last hour': `createdAfter=${ago(1 / 24)}`,
  'created before noon': `createdBefore=${ago(1 / 2)}`,
  'frequent word': 'q=example',
}

/** Searches that have to examine many tasks: not quick, but bounded. */
const SEARCHES: Readonly<Record<string, string>> = {
  // No task has both.
  'rare type and rare tag': 'type=rare&tag=rare',
  'rare word': 'q=needle',
  'a word that there is not': 'q=nowhere',
  'word and status': 'q=nowhere&status=COMPLETED',
  'word, type and range': `q=nowhere&type=demo.sleep&createdAfter=${ago(1)}&createdBefore=${ago(1 / 2)}`,
  'status that none has': 'status=WAITING',
  'frequent type and status': 'type=demo.sleep&status=COMPLETED&tag=often&q=nowhere',
}

interface Server {
  stack: Stack
  web: RoleProcess
}

export async function benchLists(): Promise<void> {
  const stacks = { small: await openStack(), full: await openStack(), bare: await openStack() }
  try {
    const startedAtMs = performance.now()
    await fillTasks(stacks.small.databaseUrl, { count: 600, rareEvery: 10, waiting: 60 })
    await fillTasks(stacks.full.databaseUrl, { count: TASKS, rareEvery: 1_000, waiting: 1_000 })
    console.log(
      `lists over ${TASKS} tasks (filled in ${((performance.now() - startedAtMs) / 1_000).toFixed(0)} s), ${CONNECTIONS} connections, medians of ${ROUNDS} rounds of ${SECONDS} s, taking turns`,
    )
    const start = async (stack: Stack): Promise<Server> => ({ stack, web: await stack.startRole('web') })
    const servers = {
      small: await start(stacks.small),
      full: await start(stacks.full),
      bare: await start(stacks.bare),
    }
    for (const [name, query] of Object.entries(LISTS)) await reportList(name, query, servers)
    await reportSearches(servers.full.web.address)
    await reportCreates(servers)
  } finally {
    for (const stack of Object.values(stacks)) await stack.close()
  }
}

async function reportList(
  name: string,
  query: string,
  { small, full, bare }: Record<'small' | 'full' | 'bare', Server>,
): Promise<void> {
  const shoot = async ({ web }: Server) =>
    (
      await requestInLoop({
        url: `${web.address}/api/tasks?${query}`,
        connections: CONNECTIONS,
        seconds: SECONDS,
      })
    ).perSecond
  const rounds: Record<'small' | 'full' | 'bare', number>[] = []
  for (let round = 0; round <= ROUNDS; round += 1)
    rounds.push({ small: await shoot(small), full: await shoot(full), bare: await shoot(bare) })
  const measured = rounds.slice(1) // The first warms up.
  const of = (which: 'small' | 'full' | 'bare') =>
    median(measured.map((round) => round[which]))
      .toFixed(0)
      .padStart(5)
  const timesAs = (which: 'small' | 'bare') =>
    describe(
      measured.map((round) => round[which] / round.full),
      2,
    )
  console.log(
    `  ${name.padEnd(26)} ${of('full')} requests/s, one page of tasks ${of('small')}, no task ${of('bare')}; takes ${timesAs('small')} times as long as one page   (target: 2.00), ${timesAs('bare')} as no task`,
  )
}

async function reportSearches(address: string): Promise<void> {
  for (const [name, query] of Object.entries(SEARCHES)) {
    const tookMs = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const startedAtMs = performance.now()
      const answer = await fetch(`${address}/api/tasks?${query}`)
      await answer.arrayBuffer()
      if (!answer.ok) throw new Error(`${name}: the answer was ${answer.status}`)
      tookMs.push(performance.now() - startedAtMs)
    }
    console.log(`  ${name.padEnd(26)} a page after ${describe(tookMs)} ms   (target: 2000)`)
  }
}

/** Without what lists need, a create writes two index entries and calls one trigger less. */
const WITHOUT_LISTS = `
drop index taskwire.tasks_type_idx, taskwire.tasks_created_idx;
drop trigger tasks_index_new_tags on taskwire.tasks`
const BODY = JSON.stringify({ title: 'example task' })

/** By the processor time that the web process and PostgreSQL spend on a create, requests taking turns in short rounds. */
async function reportCreates({ small, full, bare }: Record<'small' | 'full' | 'bare', Server>): Promise<void> {
  await dropListIndexes(bare.stack)
  const rounds: Record<'small' | 'full' | 'bare', number>[] = []
  for (let round = 0; round < CREATE_ROUNDS; round += 1)
    rounds.push({
      small: await measureCreates(small),
      full: await measureCreates(full),
      bare: await measureCreates(bare),
    })
  const measured = rounds.slice(1) // The first warms up.
  const compare = (a: 'small' | 'full', b: 'small' | 'bare') =>
    describe(
      measured.map((round) => round[a] / round[b]),
      3,
    )
  console.log(
    `  creates: ${describe(measured.map((round) => round.small * 1_000))} µs of processor time each, web and PostgreSQL together`,
  )
  console.log(`  creates on ${TASKS} tasks: ${compare('full', 'small')} times as much as on few`)
  console.log(
    `  creates with the indexes and the trigger of lists: ${compare('small', 'bare')} times as much as without them   (target: 1.030)`,
  )
}

async function dropListIndexes(stack: Stack): Promise<void> {
  const client = new pg.Client({ connectionString: stack.databaseUrl })
  await client.connect()
  await client.query(WITHOUT_LISTS)
  await client.end()
}

/** @returns processor time of a create, in ms */
async function measureCreates({ stack, web }: Server): Promise<number> {
  const readMs = () => readCpuMs(web.child.pid ?? 0, stack.postgresPid)
  const beforeMs = await readMs()
  const { count } = await requestInLoop({
    url: `${web.address}/api/tasks`,
    body: BODY,
    connections: 64,
    seconds: SECONDS,
  })
  return ((await readMs()) - beforeMs) / count
}
