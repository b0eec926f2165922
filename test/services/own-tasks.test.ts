/** A project's own folder of tasks, used by `start --tasks DIR --watch`. `npm test` builds the command line first. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { makeWorkingFolder, oneLine, spawnStart, spawnTaskwire, startEverything } from '../helpers/processes.js'

const taskModule = (answer: string) => `
import { defineTask, Type } from 'taskwire'
interface Payload { name: string }
export const greet = defineTask({
  type: 'own.greet', title: 'Greet', description: 'Says something.',
  payload: Type.Object({ name: Type.String() }), result: Type.String(),
  run: async ({ name }: Payload) => '${answer} ' + name,
})`

async function greet(address: string): Promise<unknown> {
  const answer = await fetch(`${address}/api/tasks`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', prefer: 'wait=20' },
    body: JSON.stringify({ type: 'own.greet', payload: { name: 'Ada' } }),
  })
  return ((await answer.json()) as { result: unknown }).result
}

t.test('own types are served and run; a change takes effect only if it loads', async (t) => {
  const cwd = await makeWorkingFolder(t)
  const file = join(cwd, 'tasks', 'greet.ts')
  await mkdir(join(cwd, 'tasks'))
  await writeFile(file, taskModule('Hello'))
  const started = await startEverything(t, cwd, { flags: ['--tasks', 'tasks', '--watch'] })
  t.equal(await greet(started.address), 'Hello Ada')
  await writeFile(file, 'export const = 1')
  await started.waitFor(/Ignoring the change: taskwire: cannot load .*greet\.ts/)
  t.equal(await greet(started.address), 'Hello Ada', 'the old version keeps running')
  await writeFile(file, taskModule('Welcome'))
  await started.waitFor(/A file in tasks has changed[^]*(web|worker) runs again[^]*(web|worker) runs again/)
  t.equal(await greet(started.address), 'Welcome Ada')
})

t.test('an unusable folder is reported in one clear line', async (t) => {
  const cwd = await makeWorkingFolder(t)
  const missing = spawnTaskwire(t, ['types', '--tasks', 'nowhere'], { cwd })
  t.strictSame(await missing.exited, { code: 1, signal: null })
  t.match(oneLine(missing.stderr()), /^taskwire: cannot read the tasks folder .*nowhere: it does not exist/)
  const pointless = spawnStart(t, cwd, { flags: ['--watch'] })
  t.strictSame(await pointless.exited, { code: 1, signal: null })
  t.match(oneLine(pointless.stderr()), /^taskwire: --watch needs a folder of tasks/)
  const list = spawnTaskwire(t, ['types'], { cwd })
  t.strictSame(await list.exited, { code: 0, signal: null })
  t.match(list.stdout(), /^demo\.sleep +Sleep in steps\n/)
})
