/**
 * No other user of the machine can read a server's files, and a server that cannot write them reports it. `npm test`
 * builds first.
 */
import { chmod, lstat, mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { assertFolderUsable, tightenFolder } from '../../src/private-files.js'
import {
  createEmptyTask,
  makeWorkingFolder,
  oneLine,
  spawnTaskwire,
  startEverything,
  waitForEnd,
} from '../helpers/processes.js'
import { startPostgres } from '../helpers/services.js'

/** root's services run as another user, who must be able to pass through the data folder. */
const PASSED_THROUGH = process.getuid?.() === 0 ? 0o011 : 0

/** Lists the paths in a folder, including the folder itself, that other users have rights to. */
async function findOpen(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true })
  const modes = await Promise.all(
    ['', ...names].map(async (name) => {
      // A file that a server has removed meanwhile is open to no one.
      const found = await lstat(join(folder, name)).catch(() => undefined)
      const allowed = name === '' ? PASSED_THROUGH : 0
      return found !== undefined && !found.isSymbolicLink() && (found.mode & 0o077 & ~allowed) !== 0
        ? [`${name} ${(found.mode & 0o777).toString(8)}`]
        : []
    }),
  )
  return modes.flat()
}

t.test(
  'everything in the data folder is private to the user, whatever the umask, even in folders of an earlier version',
  async (t) => {
    const cwd = await makeWorkingFolder(t)
    const data = join(cwd, '.taskwire')
    for (const folder of ['', 'artifacts', 'artifacts/ab', 'emails'])
      await mkdir(join(data, folder), { recursive: true, mode: 0o755 })
    await writeFile(join(data, 'emails', '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10.eml'), 'from before', { mode: 0o644 })
    await writeFile(join(data, 'roles.json'), '{}', { mode: 0o644 })
    const before = process.umask(0)
    // A child process inherits the umask.
    const starting = startEverything(t, cwd)
    process.umask(before)
    const { address } = await starting
    const create = async (body: object) => {
      const answer = await fetch(`${address}/api/tasks`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
      return ((await answer.json()) as { id: string }).id
    }
    const ids = [
      await createEmptyTask(address),
      await create({ type: 'email.send', payload: { to: ['ada@example.com'], subject: 'private', text: 'private' } }),
      await create({ type: 'report.generate' }),
      await create({ type: 'tasks.export' }),
    ]
    t.equal((await fetch(`${address}/api/uploads`, { method: 'POST', body: 'private' })).status, 201)
    for (const id of ids) t.equal(await waitForEnd(address, id), 'COMPLETED')
    const names = await readdir(data, { recursive: true })
    t.ok(names.includes(`emails/${ids[1]}.eml`))
    t.ok(names.filter((name) => /^artifacts\/..\/[^/]+\/\d-[0-9a-f]+$/.test(name)).length >= 4)
    t.ok(names.includes('start.sock') && names.includes('roles.json'))
    t.same(await findOpen(data), [])
  },
)

t.test('a folder that can never be created is refused at once', async (t) => {
  for (const folder of ['/proc/taskwire', '/proc/taskwire/below/it', '/proc/self/status/below'])
    await t.rejects(assertFolderUsable(folder, 'the folder of DATA_DIR', 'Choose another.'), {
      name: 'StartupError',
      message: `cannot write to the folder of DATA_DIR ${folder}: `,
    })
})

t.test('a folder that contains other files, or is a link, is left as it is', async (t) => {
  const folder = t.testdir({ ours: 'x', theirs: 'x' })
  await chmod(folder, 0o755)
  for (const name of ['ours', 'theirs']) await chmod(join(folder, name), 0o644)
  await tightenFolder(folder, (name) => name === 'ours')
  const modeOf = async (path: string) => ((await lstat(path)).mode & 0o777).toString(8)
  t.same(await Promise.all([folder, join(folder, 'ours'), join(folder, 'theirs')].map(modeOf)), ['755', '600', '644'])
})

t.test(
  'an unwritable folder for files or e-mails is reported at the start, in one line that says what to do',
  async (t) => {
    const postgres = await startPostgres(t)
    const folder = t.testdir({ file: 'not a folder' })
    const good = {
      DATABASE_URL: postgres.url,
      PORT: '0',
      ARTIFACTS_DIR: join(folder, 'artifacts'),
      EMAIL_DIR: join(folder, 'emails'),
    }
    const cases = [
      ['web', 'ARTIFACTS_DIR', join(folder, 'file')],
      ['worker', 'ARTIFACTS_DIR', join(folder, 'file', 'below')],
      ['worker', 'EMAIL_DIR', join(folder, 'file')],
    ] as const
    for (const [role, variable, path] of cases) {
      const started = spawnTaskwire(t, [role], { env: { ...good, [variable]: path } })
      t.strictSame(await started.exited, { code: 1, signal: null })
      const line = oneLine(started.output())
      t.match(line, `taskwire: cannot write to the folder of ${variable} ${path}: `, `${role} with ${path}`)
      t.match(line, new RegExp(`Set ${variable} to a folder that the user of this process can write to, or `))
    }
  },
)
