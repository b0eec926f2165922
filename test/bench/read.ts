/**
 * `read`: how many reads of one task a web process answers, against a bare Fastify route whose response has the same
 * size.
 *
 * Each read queries PostgreSQL. The two take turns in short rounds, as in `create`.
 */
import { requestInLoop } from './http-load.js'
import { describe, median, openStack } from './stack.js'

const CONNECTIONS = 64
const SECONDS = 1
const ROUNDS = 15

export async function benchRead(): Promise<void> {
  const stack = await openStack()
  try {
    const bare = await stack.startModule('./bare-server.js')
    const web = await stack.startRole('web')
    const created = await fetch(`${web.address}/api/tasks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"title":"example task"}',
    })
    const { id } = (await created.json()) as { id: string }
    const shoot = (address: string, seconds: number) =>
      requestInLoop({ url: `${address}/api/tasks/${id}`, connections: CONNECTIONS, seconds })
    await shoot(bare.address, 2)
    await shoot(web.address, 2)
    const rounds = []
    for (let round = 0; round < ROUNDS; round += 1) {
      rounds.push({ reference: await shoot(bare.address, SECONDS), ours: await shoot(web.address, SECONDS) })
    }
    console.log(`read, ${CONNECTIONS} connections, medians of ${ROUNDS} rounds of ${SECONDS} s, taking turns`)
    console.log(`  bare Fastify route   ${describe(rounds.map(({ reference }) => reference.perSecond))} requests/s`)
    console.log(
      `  taskwire             ${describe(rounds.map(({ ours }) => ours.perSecond))} reads/s, p99 ${median(rounds.map(({ ours }) => ours.p99Ms)).toFixed(1)} ms`,
    )
    console.log(
      `  ratio per round      ${describe(
        rounds.map(({ ours, reference }) => ours.perSecond / reference.perSecond),
        2,
      )}   (target: 0.60)`,
    )
  } finally {
    await stack.close()
  }
}
