/**
 * A type's own check of its payload: whatever the check returns or throws, the client gets an error that names the
 * type.
 */
import t from 'tap'
import { Type } from 'typebox'
import { defineTask } from '../../src/definitions/definition.js'
import { createRegistry } from '../../src/definitions/registry.js'

function check(checkPayload: () => unknown) {
  const own = defineTask({
    type: 'own.check',
    title: 'own',
    description: 'own',
    payload: Type.Object({}),
    result: Type.Null(),
    checkPayload: checkPayload as never,
    run: async () => null,
  })
  return createRegistry([own], own.type).find(own.type)?.readPayload({}).errors
}

const ODD: [what: string, checkPayload: () => unknown][] = [
  ['nothing', () => undefined],
  ['null', () => null],
  ['a string', () => 'bad'],
  ['a number', () => 7],
  ['true', () => true],
  ['an error outside of an array', () => ({ pointer: '/a', detail: 'is bad' })],
  ['an iterator', () => [].values()],
  ['an array of undefined', () => [undefined]],
  ['an array of strings', () => ['bad']],
  ['an Error', () => [new Error('bad')]],
  ['an invalid pointer', () => [{ pointer: 'a', detail: 'is bad' }]],
  ['a detail that is not a string', () => [{ pointer: '/a', detail: { text: 'is bad' } }]],
  ['a promise', () => Promise.resolve([])],
  [
    'a proxy that throws',
    () =>
      new Proxy([], {
        get() {
          throw new Error('no access')
        },
      }),
  ],
]

t.test('an invalid return value of checkPayload refuses the payload and names the type', async (t) => {
  for (const [what, checkPayload] of ODD) {
    t.match(
      check(checkPayload),
      [{ pointer: '', detail: /^cannot be checked: checkPayload of own\.check failed/ }],
      what,
    )
  }
})

t.test('an error is passed on with its known fields alone', async (t) => {
  t.same(
    check(() => []),
    [],
  )
  t.same(
    check(() => [{ pointer: '', detail: 'is odd' }]),
    [{ pointer: '', detail: 'is odd' }],
  )
  const full = { pointer: '/a', detail: 'is bad', fix: 'Send another.' }
  t.same(
    check(() => [{ ...full, more: 1n }]),
    [full],
  )
})
