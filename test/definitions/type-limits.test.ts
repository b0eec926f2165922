/** Limits and keys that types declare: their names, what types share, and what is refused when types are loaded. */
import t from 'tap'
import { Type } from 'typebox'
import { defineTask, type Definition, type TypeLimit } from '../../src/definitions/definition.js'
import { createRegistry } from '../../src/definitions/registry.js'
import { readNewTask } from '../../src/tasks/create/new-task.js'

const own = (type: string, more: Partial<Definition>): Definition => ({
  ...defineTask({
    type,
    title: 'own',
    description: 'own',
    payload: Type.Object({ account: Type.Optional(Type.String()) }),
    result: Type.Null(),
    run: async () => null,
  }),
  ...more,
})
const load = (...definitions: Definition[]) => createRegistry(definitions, definitions[0]?.type ?? '')
const limited = (...limits: TypeLimit[]) => load(own('own.a', { limits }))

t.test('limits get names from their type, and types that use the same name share the limit', async (t) => {
  const rate = { limit: 10, periodMs: 1_000, burst: 2 }
  t.match(limited({ concurrency: 3 }, { concurrency: 1, per: 'key' }, { rate, whenOver: 'skip' }).declaredLimits, [
    { name: 'own.a.concurrency', types: ['own.a'], per: 'all', concurrency: 3, rate: null, whenOver: 'delay' },
    { name: 'own.a.concurrency.key', per: 'key', concurrency: 1 },
    { name: 'own.a.rate', concurrency: null, rate: 10, periodMs: 1_000, burst: 2, whenOver: 'skip' },
  ])
  const limits = [{ name: 'smtp', rate: { limit: 5, periodMs: 1_000 } }]
  t.match(load(own('own.a', { limits }), own('own.b', { limits }), own('own.c', {})).declaredLimits, [
    { name: 'smtp', types: ['own.a', 'own.b'], rate: 5, burst: 1 },
  ])
})

t.test('a wrong limit is refused with its type, its place and what to do', async (t) => {
  const wrong: [TypeLimit[] | object, RegExp][] = [
    [[{}], /"own.a": limits 0 must have either concurrency or rate/],
    [[{ concurrency: 1, rate: { limit: 1, periodMs: 1 } }], /limits 0 must have either concurrency or rate/],
    [
      [{ concurrency: 1 }, { concurrency: 2 }],
      /limits 1 is a second limit called "own.a.concurrency". Give it another name/,
    ],
    [[{ concurrency: 1, whenOver: 'skip' }], /limits 0 has whenOver/],
    [[{ concurrency: 1, name: 'resume-a' }], /limits 0 must not have a name that begins with resume-/],
    [[{ concurrency: 0 }], /limits 0\/concurrency/],
    [[{ concurrency: 1, name: 'A b' }], /limits 0\/name/],
    [[{ concurrency: 1, per: 'queue' }], /limits 0\/per/],
    [[{ concurency: 1 }], /limits 0\/concurency/],
    [[{ rate: { limit: 1 } }], /limits 0\/rate\/periodMs/],
    [{ concurrency: 1 }, /limits /],
  ]
  for (const [limits, message] of wrong)
    t.throws(() => load(own('own.a', { limits: limits as never })), { message }, JSON.stringify(limits))
  t.throws(
    () =>
      load(
        own('own.a', { limits: [{ name: 'smtp', concurrency: 1 }] }),
        own('own.b', { limits: [{ name: 'smtp', concurrency: 2 }] }),
      ),
    { message: /"own.b" declares the limit "smtp" differently from "own.a"/ },
  )
  t.throws(() => load(own('own.a', { concurrencyKeyBy: 'x' as never })), {
    message: /concurrencyKeyBy is not a function/,
  })
})

t.test('keys are made from the payload, unless the task has its own', async (t) => {
  const by = ({ account }: { account?: string }) => account
  const registry = load(own('own.a', { concurrencyKeyBy: by, sequenceKeyBy: by }))
  const read = (body: object) => readNewTask(body, { tenant: 'default' }, registry).more
  t.match(read({ payload: { account: 'a' } }), { concurrencyKey: 'a', sequenceKey: 'a' })
  t.match(read({ payload: { account: 'a' }, concurrencyKey: 'b' }), { concurrencyKey: 'b', sequenceKey: 'a' })
  t.match(read({ payload: { account: 'a' }, onFailure: 'skip' }), { sequenceKey: 'a', onFailure: 'skip' })
  for (const payload of [{}, { account: '' }]) t.equal(read({ payload }), undefined, 'no key')
  for (const account of ['x'.repeat(201), 'a\ud800'])
    t.match(read({ payload: { account: 'x'.repeat(201) } }), { concurrencyKey: /^sha256:/ }, account)
})

t.test('a payload for which its type makes no proper key is refused', async (t) => {
  for (const by of [() => 7, () => null, () => Promise.resolve('a'), () => JSON.parse('{') as string])
    for (const name of ['concurrencyKeyBy', 'sequenceKeyBy'])
      t.throws(() => readNewTask({}, { tenant: 'default' }, load(own('own.a', { [name]: by as never }))), {
        code: 'invalid_payload',
        errors: [{ pointer: '/payload', detail: new RegExp(`${name} of own.a failed`) }],
      })
})
