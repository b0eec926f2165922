/**
 * Proof that the schedules of `races.test.ts` can fail: each mechanism that keeps a stream complete is removed from a
 * copy of the source, and the same schedules must detect it.
 */
import t from 'tap'
import { buildTest, copyProject, runTest, testMutants, type Mutant } from '../helpers/mutants.js'

const SCHEDULES = 'test/live/races.test.ts'
const SETTINGS = { MUTANT: '1', SCHEDULES: '2000' }

const MUTANTS: Omit<Mutant, 'test'>[] = [
  {
    without: 'waiting for the acknowledgement of the subscription before the first read',
    file: 'src/live/room.ts',
    from: '    await this.#subscribed\n',
    to: '',
  },
  {
    without: 'ignoring a known version',
    file: 'public/client/fold.js',
    from: 'task !== undefined && message.version <= task.version',
    to: 'task !== undefined && message.version < task.version',
  },
  {
    without: 'the refill of a gap',
    file: 'src/live/room.ts',
    from: '    this.#target = Math.max(this.#target, version)\n',
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
    from: '    this.#cursor = version + 1\n',
    to: '    this.#cursor = this.#room.task?.version\n',
  },
  {
    without: 'stopping when the socket is full',
    file: 'src/live/task-stream.ts',
    from: '    if (buffered >= LOW_WATER_BYTES && buffered + frame.bytes > MAX_BUFFERED_BYTES) {',
    to: '    if (buffered < 0) {',
  },
  {
    without: 'resuming after the socket has drained',
    file: 'src/live/task-stream.ts',
    from: '  drained(): void {\n    this.advance()\n',
    to: '  drained(): void {\n',
  },
  {
    without: 'resuming at the position of the client',
    file: 'src/live/task-stream.ts',
    from: '    if (since === undefined) return',
    to: '    if (since !== -1) return',
  },
  {
    without: 'sending the remaining transitions before the end',
    file: 'src/live/task-stream.ts',
    from: '    if (this.#cursor < task.version) return this.#sendNext(this.#cursor)\n    this.#page = []\n    if (isFinal(task.status)) return this.#end()\n',
    to: '    this.#page = []\n    if (isFinal(task.status)) return this.#end()\n    if (this.#cursor < task.version) return this.#sendNext(this.#cursor)\n',
  },
]

/** Mutants for `tenants.test.ts`: each removes the tenant in a place where tasks of two tenants could be confused. */
const TENANTS = 'test/live/tenants.test.ts'
const TENANT_MUTANTS: Omit<Mutant, 'test'>[] = [
  {
    without: 'the tenant in the key of the room of a task',
    file: 'src/live/task-rooms.ts',
    from: 'return `${tenant} ${id}`',
    to: 'return `${tenant.slice(0, 0)} ${id}`',
  },
  {
    without: 'the tenant in the key of a list',
    file: 'src/live/list-query.ts',
    from: 'JSON.stringify([tenant, ...FILTER_NAMES',
    to: 'JSON.stringify([tenant.slice(0, 0), ...FILTER_NAMES',
  },
  {
    without: 'the tenant of a notice',
    file: 'src/live/list-query.ts',
    from: 'return tenantOf(notice) === tenant ?',
    to: 'return tenantOf(notice) === tenant || true ?',
  },
  {
    without: 'the tenant of an event',
    file: 'src/live/hub.ts',
    from: 'rooms.find(tenantOf(event), event.taskId)',
    to: 'rooms.find(tenantOf({}), event.taskId)',
  },
  {
    without: 'the tenant of a position',
    file: 'src/live/position-check.ts',
    from: ' || tenant !== room.tenant',
    to: '',
  },
  {
    without: 'removing the tenant from a frame',
    file: 'src/live/frame.ts',
    from: 'if (event.tenant === undefined) return',
    to: 'if (event.tenant !== null) return',
  },
]

t.test('an unmodified copy of the source passes', async (t) => {
  const folder = await copyProject(t)
  await buildTest(folder, SCHEDULES)
  const { code, output } = await runTest(folder, SCHEDULES, SETTINGS)
  t.equal(code, 0, output)
})

await testMutants(
  t,
  MUTANTS.map((mutant) => ({ ...mutant, test: SCHEDULES })),
  SETTINGS,
)
await testMutants(
  t,
  TENANT_MUTANTS.map((mutant) => ({ ...mutant, test: TENANTS })),
  // A test that waits for a message that never arrives fails after this many seconds.
  { TAP_TIMEOUT: '30' },
)
