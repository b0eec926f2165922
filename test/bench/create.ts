/**
 * `create`: how many tasks a web process accepts, against a bare Fastify route that validates the same body.
 *
 * No worker runs; PostgreSQL syncs every commit. The two take turns in short rounds, and each round has its own ratio,
 * so that a machine whose speed drifts favours neither. Prints the median of the ratios.
 */
import { requestInLoop } from './http-load.js'
import { describe, median, openStack } from './stack.js'

const CONNECTIONS = 64
const SECONDS = 1
const ROUNDS = 21

export async function benchCreate(): Promise<void> {
  const stack = await openStack()
  try {
    const bare = await stack.startModule('./bare-server.js')
    const web = await stack.startRole('web')
    // One warm-up round each.
    await shoot(bare.address, 2)
    await shoot(web.address, 2)
    const rounds = []
    for (let round = 0; round < ROUNDS; round += 1) {
      rounds.push({ reference: await shoot(bare.address, SECONDS), ours: await shoot(web.address, SECONDS) })
    }
    const reference = rounds.map((round) => round.reference.perSecond)
    const ours = rounds.map((round) => round.ours.perSecond)
    const p99Ms = median(rounds.map((round) => round.ours.p99Ms))
    const ratios = rounds.map((round) => round.ours.perSecond / round.reference.perSecond)
    console.log(`create, ${CONNECTIONS} connections, medians of ${ROUNDS} rounds of ${SECONDS} s, taking turns`)
    console.log(`  bare Fastify route   ${describe(reference)} requests/s`)
    console.log(`  taskwire             ${describe(ours)} tasks/s, p99 ${p99Ms.toFixed(1)} ms`)
    console.log(`  ratio per round      ${describe(ratios, 2)}   (target: 0.60)`)
  } finally {
    await stack.close()
  }
}

function shoot(address: string, seconds: number): Promise<{ perSecond: number; p99Ms: number }> {
  return requestInLoop({
    url: `${address}/api/tasks`,
    body: JSON.stringify({ title: 'example task' }),
    connections: CONNECTIONS,
    seconds,
  })
}
