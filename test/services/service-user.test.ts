/** The user and the location of the services of `taskwire start`. `npm test` builds the command line first. */
import { rm } from 'node:fs/promises'
import t from 'tap'
import { findDefaultUser } from '../../src/services/embedded/service-user.js'
import {
  asOrdinaryUser,
  createEmptyTask,
  makeWorkingFolder,
  runsTasks,
  startEverything,
  waitForEnd,
} from '../helpers/processes.js'

const STOPPED = { code: 0, signal: null }
const isRoot = (await findDefaultUser()) !== undefined

t.test('an ordinary user starts it in a folder of their own', async (t) => {
  const ordinary = await asOrdinaryUser(t)
  const cwd = await makeWorkingFolder(t, { mode: 0o700, owner: ordinary.user })
  const started = await startEverything(t, cwd, ordinary)
  t.ok(await runsTasks(started.address))
  t.match(started.stdout(), `data in ${cwd}/.taskwire/postgres`)
  t.strictSame(await started.stop(), STOPPED)
})

t.test('root starts it in a folder that others cannot enter', { skip: !isRoot && 'only root can' }, async (t) => {
  const cwd = await makeWorkingFolder(t, { mode: 0o700 })
  const first = await startEverything(t, cwd)
  const [, place = ''] =
    /^Data and programs of the services are in (\S+): the user that PostgreSQL runs as cannot enter \S+/m.exec(
      first.stdout(),
    ) ?? []
  t.teardown(() => rm(place, { recursive: true, force: true }))
  t.match(first.stdout(), `data in ${place}/postgres`)
  const id = await createEmptyTask(first.address)
  t.equal(await waitForEnd(first.address, id), 'COMPLETED')
  t.strictSame(await first.stop(), STOPPED)
  const second = await startEverything(t, cwd)
  t.equal(await waitForEnd(second.address, id), 'COMPLETED')
  t.strictSame(await second.stop(), STOPPED)
})
