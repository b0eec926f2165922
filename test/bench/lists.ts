/**
 * `lists`: how long a page of a list takes over millions of tasks, against the same request over a table of 600 tasks;
 * and the cost of a create on such tables. (Over empty tables the response has no rows, and writing fifty rows takes
 * longer than finding them.)
 *
 * Two web processes, each with its own PostgreSQL, take turns. `BENCH_TASKS` sets the number of tasks of the large one:
 * 2,000,000 by default. One task in 1,000 has the rare type, one the rare tag, and one is FAILED; one in 100,000 has
 * the rare word in its title.
 */
import pg from 'pg'
import { CREATE_TASKS } from '../../src/store/tasks/create.js'
import { createTaskId } from '../../src/tasks/create/task-id.js'
import { requestInLoop } from './http-load.js'
import { fillTasks } from './many-tasks.js'
import { describe, median, openStack, type Stack } from './stack.js'

const TASKS = Number(process.env['BENCH_TASKS'] ?? 2_000_000)
const CONNECTIONS = 4
const SECONDS = 0.5
const ROUNDS = 5
const DAY_MS = 86_400_000

const ago = (share: number) => new Date(Date.now() - share * DAY_MS).toISOString()

/** Query strings, by name. The tasks were created over the last day. */
const LISTS: Readonly<Record<string, string>> = {
  'no filter': '',
  'rare type': 'type=rare',
  'rare tag': 'tag=rare',
  'a type that does not exist': 'type=none',
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
  'a word that does not occur': 'q=nowhere',
  'word and status': 'q=nowhere&status=COMPLETED',
  'word, type and range': `q=nowhere&type=demo.sleep&createdAfter=${ago(1)}&createdBefore=${ago(1 / 2)}`,
  'a status of no task': 'status=WAITING',
  'frequent type and status': 'type=demo.sleep&status=COMPLETED&tag=often&q=nowhere',
}

export async function benchLists(): Promise<void> {
  const small = await openStack()
  const full = await openStack()
  try {
    const startedAtMs = performance.now()
    await fillTasks(small.databaseUrl, { count: 600, rareEvery: 10, waiting: 60 })
    await fillTasks(full.databaseUrl, { count: TASKS, rareEvery: 1_000, waiting: 1_000 })
    console.log(
      `lists over ${TASKS} tasks (filled in ${((performance.now() - startedAtMs) / 1_000).toFixed(0)} s), ${CONNECTIONS} connections, medians of ${ROUNDS} rounds of ${SECONDS} s, taking turns`,
    )
    const webs = { small: await small.startRole('web'), full: await full.startRole('web') }
    for (const [name, query] of Object.entries(LISTS)) {
      const shoot = (address: string) =>
        requestInLoop({ url: `${address}/api/tasks?${query}`, connections: CONNECTIONS, seconds: SECONDS })
      await shoot(webs.small.address)
      await shoot(webs.full.address)
      const rounds: Record<'small' | 'full', { perSecond: number }>[] = []
      for (let round = 0; round < ROUNDS; round += 1)
        rounds.push({ small: await shoot(webs.small.address), full: await shoot(webs.full.address) })
      const ratios = rounds.map((round) => round.small.perSecond / round.full.perSecond)
      const of = (which: 'small' | 'full') => median(rounds.map((round) => round[which].perSecond)).toFixed(0)
      console.log(
        `  ${name.padEnd(26)} ${of('full').padStart(5)} requests/s, one page of tasks ${of('small').padStart(5)}, takes ${describe(ratios, 2)} times as long   (target: 2.00)`,
      )
    }
    await reportSearches(webs.full.address)
    await reportCreates(small, full)
  } finally {
    await full.close()
    await small.close()
  }
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

/**
 * Without the indexes and the trigger for lists, a create writes two index entries fewer and fires one trigger fewer.
 */
const WITHOUT = `drop index taskwire.tasks_type_idx; drop index taskwire.tasks_created_idx; drop trigger tasks_index_new_tags on taskwire.tasks`
const BATCH = 32
const STATEMENTS = 40

/**
 * Measures the create statement alone, in batches of the size that a busy web process writes. Each batch is rolled
 * back.
 */
async function reportCreates(small: Stack, full: Stack): Promise<void> {
  const clients = {
    small: new pg.Client({ connectionString: small.databaseUrl }),
    full: new pg.Client({ connectionString: full.databaseUrl }),
  }
  await Promise.all(Object.values(clients).map((client) => client.connect()))
  const [filled, bare] = [[] as number[], [] as number[]]
  for (let round = 0; round < 3 * ROUNDS; round += 1) {
    const onSmall = await timeCreates(clients.small)
    filled.push((await timeCreates(clients.full)) / onSmall)
    bare.push(onSmall / (await timeCreates(clients.small, WITHOUT)))
  }
  await Promise.all(Object.values(clients).map((client) => client.end()))
  console.log(`  creates, the statement alone: on ${TASKS} tasks ${describe(filled, 2)} times as long as on 600`)
  console.log(
    `  creates, the statement alone: with the indexes and the trigger of lists ${describe(bare, 2)} times as long as without them`,
  )
}

async function timeCreates(client: pg.Client, prepare?: string): Promise<number> {
  const makeTask = () => ({
    id: createTaskId(),
    tenant: 'default',
    type: 'demo.sleep',
    title: 'example task',
    priority: 0,
    tags: [],
    payload: { steps: 5 },
    runAt: null,
    delayMs: null,
    queue: 'default',
    maxAttempts: 1,
  })
  const write = () =>
    client.query({ ...CREATE_TASKS, values: [60_000, JSON.stringify(Array.from({ length: BATCH }, makeTask))] })
  await client.query('begin')
  if (prepare !== undefined) await client.query(prepare)
  await write()
  const startedAtMs = performance.now()
  for (let count = 0; count < STATEMENTS; count += 1) await write()
  const tookMs = performance.now() - startedAtMs
  await client.query('rollback')
  return tookMs
}
