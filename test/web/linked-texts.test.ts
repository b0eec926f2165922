/** Behind a path, the addresses in the server's own texts begin with it. */
import t from 'tap'
import { Type } from 'typebox'
import { defineTask } from '../../src/definitions/definition.js'
import { createRegistry } from '../../src/definitions/registry.js'
import { setBasePath } from '../../src/protocol/base-path.js'
import { completeDocument } from '../../src/web/docs/openapi.js'
import { startApp } from '../helpers/app.js'

const { address } = await startApp(t, [], { BASE_PATH: '/taskwire' })

/** Every text for people in a document. */
function textsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) =>
    typeof member === 'string'
      ? /^(summary|description|title|detail|fix)$/.test(name)
        ? [member]
        : []
      : textsOf(member),
  )
}

const BARE = /(?<![\w/.])\/(api|docs|files|ws|healthz|readyz|openapi\.json|asyncapi\.json)\b/

for (const [path, least] of [
  ['/openapi.json', 3],
  ['/asyncapi.json', 1],
  ['/api/types', 1],
  ['/api/tasks/x', 1],
  ['/api/workers/x/drain', 1],
] as const)
  t.test(`the texts of ${path} name addresses with the path in front`, async (t) => {
    const method = path.endsWith('drain') ? 'POST' : 'GET'
    const texts = textsOf(await (await fetch(`${address}${path}`, { method })).json())
    t.same(
      texts.filter((text) => BARE.test(text)),
      [],
    )
    t.ok(texts.filter((text) => text.includes('/taskwire/')).length >= least)
  })

t.test('what the author of a type wrote is left alone: it may name another server', (t) => {
  setBasePath('/taskwire')
  const description = 'Calls POST /api/orders of the shop.'
  const order = defineTask({
    type: 'shop.order',
    title: 'Order',
    description,
    payload: Type.Object({ id: Type.String({ description: 'of GET /api/orders' }) }),
    result: Type.Null(),
    run: async () => null,
  })
  const paths = { '/x': { get: { responses: { 200: { $ref: '#/components/schemas/shop.order.payload' } } } } }
  const texts = textsOf(completeDocument({ paths }, [], createRegistry([order], 'shop.order')))
  t.ok(texts.some((text) => text.endsWith(description)))
  t.ok(texts.includes('of GET /api/orders'))
  t.end()
})
