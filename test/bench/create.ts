/**
 * `create`: how many tasks a web process accepts, against a bare Fastify route that validates the same body.
 *
 * No worker runs; PostgreSQL syncs every commit. The two take turns, so that a machine whose speed drifts is unfair to
 * neither. Prints the ratio of the medians.
 */
import { postInLoop } from './http-load.js'
import { median, openStack } from './stack.js'

const CONNECTIONS = 64
const SECONDS = 4
const ROUNDS = 3

export async function benchCreate(): Promise<void> {
  const stack = await openStack()
  try {
    const bare = await stack.startModule('./bare-server.ts')
    const web = await stack.startRole('web')
    const figures = { bare: [] as number[], taskwire: [] as number[], p99Ms: [] as number[] }
    // One round each to warm up.
    await shoot(bare.address, 2)
    await shoot(web.address, 2)
    for (let round = 0; round < ROUNDS; round += 1) {
      figures.bare.push((await shoot(bare.address, SECONDS)).perSecond)
      const { perSecond, p99Ms } = await shoot(web.address, SECONDS)
      figures.taskwire.push(perSecond)
      figures.p99Ms.push(p99Ms)
    }
    const [reference, ours] = [median(figures.bare), median(figures.taskwire)]
    console.log(`create, ${CONNECTIONS} connections, medians of ${ROUNDS} rounds of ${SECONDS} s, taking turns`)
    console.log(`  bare Fastify route   ${reference.toFixed(0)} requests/s   (${figures.bare.map((value) => value.toFixed(0)).join(', ')})`)
    console.log(`  taskwire             ${ours.toFixed(0)} tasks/s, p99 ${median(figures.p99Ms).toFixed(1)} ms   (${figures.taskwire.map((value) => value.toFixed(0)).join(', ')})`)
    console.log(`  ratio                ${(ours / reference).toFixed(2)}   (to reach: 0.60)`)
  } finally {
    await stack.close()
  }
}

function shoot(address: string, seconds: number): Promise<{ perSecond: number; p99Ms: number }> {
  return postInLoop({ url: `${address}/api/tasks`, body: JSON.stringify({ title: 'example task' }), connections: CONNECTIONS, seconds })
}
