/**
 * Proof that the schedules of `races.test.ts` can fail: each mechanism that keeps a stream whole is taken out of a copy of
 * the source, and the same schedules must notice.
 */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIED = ['src/live', 'src/protocol', 'src/broker/broker.ts', 'public/task-stream.js', 'public/task-stream.d.ts', 'package.json', 'tsconfig.json']
const TESTS = ['test/live/races.test.ts', 'test/live/world.ts']

interface Mutant {
  without: string
  file: string
  from: string
  to: string
}

const MUTANTS: Mutant[] = [
  {
    without: 'waiting for the acknowledgement of the subscription before the first read',
    file: 'src/live/room.ts',
    from: '    await subscribed\n',
    to: '',
  },
  {
    without: 'ignoring a version that is known already',
    file: 'public/task-stream.js',
    from: 'task !== undefined && message.version <= task.version',
    to: 'task !== undefined && message.version < task.version',
  },
  {
    without: 'the refill of a gap',
    file: 'src/live/room.ts',
    from: '    target = Math.max(target, version)\n',
    to: '',
  },
  {
    without: 'the position check',
    file: 'src/live/position-check.ts',
    from: '    else room.moveTo(version)\n',
    to: '',
  },
  {
    without: 'the cursor of each stream',
    file: 'src/live/task-stream.ts',
    from: '    cursor = version + 1\n',
    to: '    cursor = room.task?.version\n',
  },
  {
    without: 'stopping when the socket is full',
    file: 'src/live/task-stream.ts',
    from: '    if (buffered >= LOW_WATER_BYTES && buffered + frame.bytes > MAX_BUFFERED_BYTES) {',
    to: '    if (buffered < 0) {',
  },
  {
    without: 'going on when the socket has drained',
    file: 'src/live/task-stream.ts',
    from: 'return { advance, drained: advance,',
    to: 'return { advance, drained() {},',
  },
  {
    without: 'resuming at the position of the client',
    file: 'src/live/task-stream.ts',
    from: '    if (since === undefined) return',
    to: '    if (since !== -1) return',
  },
  {
    without: 'sending what is left before the end',
    file: 'src/live/task-stream.ts',
    from: '    if (cursor < task.version) return sendNext(cursor)\n    page = []\n    if (isFinal(task.status)) return end()\n',
    to: '    page = []\n    if (isFinal(task.status)) return end()\n    if (cursor < task.version) return sendNext(cursor)\n',
  },
]

async function copySource(t: { teardown(action: () => unknown): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'taskwire-mutant-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  for (const path of [...COPIED, ...TESTS]) await cp(join(ROOT, path), join(folder, path), { recursive: true })
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Runs the schedules there; resolves with the exit code and what was printed. */
function runSchedules(folder: string): Promise<{ code: number; output: string }> {
  const env = { PATH: process.env['PATH'], MUTANT: '1', SCHEDULES: '2000' }
  return new Promise((resolve) => {
    execFile(process.execPath, ['--import=tsx', 'test/live/races.test.ts'], { cwd: folder, env }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, output: stdout + stderr })
    })
  })
}

t.test('a copy of the source that lacks nothing passes', async (t) => {
  const { code, output } = await runSchedules(await copySource(t))
  t.equal(code, 0, output)
})

for (const { without, file, from, to } of MUTANTS) {
  t.test(`a hub without ${without} is found out`, async (t) => {
    const folder = await copySource(t)
    const source = await readFile(join(folder, file), 'utf8')
    t.equal(source.split(from).length, 2, `${file} holds what is taken out, once`)
    await writeFile(join(folder, file), source.replace(from, () => to))
    const { code, output } = await runSchedules(folder)
    t.not(code, 0)
    t.match(output, /Property failed/)
  })
}
