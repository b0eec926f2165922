/** Calls of the release: none is lost, whenever it comes. */
import pino from 'pino'
import t from 'tap'
import type { Database } from '../../../src/db/database.js'
import { Releaser } from '../../../src/tasks/release/releaser.js'

/** A releaser whose releases find nothing, and end when the test says so. */
function makeReleaser() {
  const releases: (() => void)[] = []
  const db = {
    run: () => new Promise((resolve) => releases.push(() => resolve([]))),
  } as unknown as Database
  const releaser = new Releaser({
    db,
    broker: { queue: { add: async () => {} } },
    publisher: { publish: () => {} },
    log: pino({ level: 'silent' }),
    claimWindowMs: 1_000,
  })
  return { releaser, releases }
}

const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn += 1) await Promise.resolve()
}

t.test('a call during a release makes another, and several make one', async (t) => {
  const { releaser, releases } = makeReleaser()
  releaser.wake()
  await turns(5)
  t.equal(releases.length, 1)
  releaser.wake()
  releaser.wake()
  releases[0]?.()
  await turns(50)
  t.equal(releases.length, 2)
  releases[1]?.()
  await turns(50)
  t.equal(releases.length, 2)
})

t.test('a call in any turn while a release ends is followed by a release', async (t) => {
  for (let turn = 0; turn < 30; turn += 1) {
    const { releaser, releases } = makeReleaser()
    releaser.wake()
    await turns(5)
    releases[0]?.()
    await turns(turn)
    releaser.wake()
    await turns(50)
    t.equal(releases.length, 2, `${turn} turns after the answer`)
  }
})
