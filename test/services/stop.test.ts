/** One signal causes one clean stop, whichever process receives it. `npm test` builds the command line first. */
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { atDepth } from '../helpers/depth.js'
import { findChild, makeWorkingFolder, runsTasks, startEverything, waitUntilGone } from '../helpers/processes.js'

const STOPPED = { code: 0, signal: null }

t.test('any signal to the whole process group causes one clean stop', async (t) => {
  const cwd = await makeWorkingFolder(t)
  for (const signal of (['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const).slice(0, atDepth(2, 4))) {
    const started = await startEverything(t, cwd, { ownGroup: true })
    process.kill(-started.pid, signal)
    t.strictSame(await started.exited, STOPPED, signal)
    t.match(
      started.output(),
      /Ctrl-C stops everything; the data stays\.\n\nStopping\. .*\nStopped\.\n$/,
      `${signal}: there is no other output`,
    )
    await t.resolves(waitUntilGone(started.family))
  }
})

t.test('npm start stops everything when npm is signalled, and when npm has ended', async (t) => {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const cwd = await makeWorkingFolder(t)
  const env = { DATA_DIR: join(cwd, '.taskwire'), PORT: '0', HOME: cwd, npm_config_update_notifier: 'false' }
  const ends = [
    ['SIGTERM', STOPPED],
    ['SIGKILL', { code: null, signal: 'SIGKILL' }],
    ['SIGINT', STOPPED],
    ['SIGHUP', { code: null, signal: 'SIGHUP' }],
  ] as const
  for (const [signal, end] of ends.slice(0, atDepth(2, 4))) {
    const npm = await startEverything(t, root, { program: 'npm', flags: [], env })
    npm.signal(signal)
    t.strictSame(await npm.exited, end, signal)
    await t.resolves(waitUntilGone(npm.family), `${signal} leaves no process behind`)
    t.match(
      npm.output(),
      /Ctrl-C stops everything; the data stays\.\n\nStopping\. .*\nStopped\.\n$/,
      `${signal}: one clean stop`,
    )
  }
})

t.test('a role that another process stops is started again', async (t) => {
  const started = await startEverything(t, await makeWorkingFolder(t))
  process.kill(await findChild(started.pid, /main\.js worker/), 'SIGTERM')
  await started.waitFor(/^worker ended \(exit code 0\); trying again in 0\.25 s\nworker runs again$/m)
  t.ok(await runsTasks(started.address))
  t.strictSame(await started.stop(), STOPPED)
})
