/**
 * A PostgreSQL that restarts, cuts or refuses connections, or refuses writes. No process ends, and no outcome is lost: the
 * same processes live through all of these faults, one after the other.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import t, { type Test } from 'tap'
import { openScene } from '../helpers/scene.js'

t.setTimeout(900_000)

const scene = await openScene(t, { ATTEMPT_LEASE_SECONDS: '10' })
const roles = await Promise.all([scene.start('web'), scene.start('worker'), scene.start('relay')])

/**
 * Runs `fault` while tasks are created and run. Afterwards every task must have ended, and no process may have been
 * replaced.
 */
async function survive(t: Test, fault: () => Promise<void>) {
  const ids: string[] = []
  let isLoading = true
  const load = Array.from({ length: 4 }, async () => {
    while (isLoading) {
      ids.push(await scene.create({ payload: { steps: 3, stepMs: 100 } }))
      await sleep(20)
    }
  })
  await sleep(500)
  await fault()
  await sleep(500)
  isLoading = false
  await Promise.all(load)
  await scene.ended(ids)
  t.same(await scene.violations(ids), [])
  for (const { child } of roles) t.equal(child.exitCode ?? child.signalCode, null, 'no process ended')
}

async function connect(url = scene.postgres.url): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  return client
}

t.test('F28: PostgreSQL loses power and comes back repeatedly', async (t) => {
  await survive(t, async () => {
    for (let round = 0; round < 3; round += 1) {
      await scene.postgres.kill()
      await sleep(400)
      await scene.postgres.start()
      await sleep(800)
    }
  })
})

t.test('F3: every connection is cut while statements are in progress', async (t) => {
  const client = await connect()
  await survive(t, async () => {
    for (let round = 0; round < 20; round += 1) {
      await client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and application_name like 'taskwire%'",
      )
      await sleep(100)
    }
  })
  await client.end()
})

t.test('PostgreSQL is frozen for some seconds: nothing is lost, and requests get an answer', async (t) => {
  await survive(t, async () => {
    await scene.postgres.pause()
    await sleep(5_000)
    await scene.postgres.resume()
  })
})

t.test('F39: PostgreSQL refuses writes: 503 with Retry-After, no half-done writes, and reads continue', async (t) => {
  const client = await connect(scene.postgres.adminUrl)
  await survive(t, async () => {
    const setReadOnly = async (value: string) => {
      await client.query(`alter system set default_transaction_read_only = ${value}`)
      await client.query('select pg_reload_conf()')
    }
    await setReadOnly('on')
    await sleep(700)
    // This session undoes the setting, so it must be allowed to write.
    await client.query('set default_transaction_read_only = off')
    await setReadOnly('off')
  })
  await client.end()
})

t.test('PostgreSQL accepts no more connections: open ones continue, and the rest get their turn', async (t) => {
  const hoard: pg.Client[] = []
  await survive(t, async () => {
    for (;;) {
      const client = await connect().catch(() => undefined)
      if (client === undefined) break
      hoard.push(client)
    }
    await sleep(1_500)
    await Promise.all(hoard.map((client) => client.end()))
  })
  t.ok(hoard.length > 10)
})
