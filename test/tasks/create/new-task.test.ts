/** A request becomes a task that can be stored, or an error names the invalid field. */
import t from 'tap'
import { Type } from 'typebox'
import { DEFAULT_PRINCIPAL } from '../../../src/access/principal.js'
import { defineTask } from '../../../src/definitions/definition.js'
import { createRegistry } from '../../../src/definitions/registry.js'
import { createUniqueTasks } from '../../../src/store/tasks/create-unique.js'
import { NewTaskError, readNewTask } from '../../../src/tasks/create/new-task.js'
import { openTestDatabase } from '../../helpers/database.js'
import { startPostgres } from '../../helpers/services.js'

const db = await openTestDatabase(t, (await startPostgres(t)).url)
const keyed = (uniqueBy: (payload: { key?: string }) => string) =>
  createRegistry(
    [
      defineTask({
        type: 'test.keyed',
        title: 'test',
        description: '',
        payload: Type.Object({ key: Type.Optional(Type.String()) }),
        result: Type.Null(),
        uniqueBy,
        run: async () => null,
      }),
    ],
    'test.keyed',
  )
const read = (payload: object, registry: ReturnType<typeof keyed>) =>
  readNewTask({ payload }, { tenant: 'default' }, registry)

t.test(
  'a unique key that a type computes may have any length and any characters, and identifies one task',
  async (t) => {
    const registry = keyed(({ key = '' }) => `a\0b ${key}`)
    const long = keyed(({ key = '' }) => key.repeat(3_000))
    const makes = [
      () => read({ key: 'x' }, registry),
      () => read({ key: 'y' }, registry),
      () => read({ key: 'x' }, long),
      () => read({ key: '日' }, long),
      () => read({ key: '😀' }, long),
    ]
    const keys = new Set<string | undefined>()
    for (const make of makes) {
      const [first, again] = [make(), make()]
      t.match(await createUniqueTasks(DEFAULT_PRINCIPAL, db, [first], 0), { answers: [{ kind: 'created' }] })
      t.match(await createUniqueTasks(DEFAULT_PRINCIPAL, db, [again], 0), {
        answers: [{ kind: 'existing', id: first.id }],
      })
      keys.add(first.more?.uniqueKey)
    }
    t.equal(keys.size, makes.length)
    t.equal(
      read(
        { key: 'u' },
        keyed(({ key = '' }) => key),
      ).more?.uniqueKey,
      'u',
      'a short key stays as it is',
    )
  },
)

t.test('a payload for which its type computes no key is refused, and the error is kept for the log', async (t) => {
  const broken = [
    keyed(({ key }) => (key as string).toUpperCase()),
    keyed(() => undefined as never),
    keyed(() => 7 as never),
    keyed(() => ({}) as never),
  ]
  for (const registry of broken) {
    const error: unknown = t.throws(() => read({}, registry), {
      code: 'invalid_payload',
      errors: [{ pointer: '/payload', detail: /uniqueBy of test.keyed failed/ }],
    })
    t.ok(error instanceof NewTaskError && error.cause instanceof TypeError)
  }
})
