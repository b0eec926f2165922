import t from 'tap'
import Schema from 'typebox/schema'
import { Value } from 'typebox/value'
import { createDefinitions, DEFAULT_TYPE } from '../../src/handlers/built-in.js'
import { TaskType } from '../../src/protocol/task.js'

const definitions = createDefinitions({ httpRequestAllowPrivate: false, emailFrom: 'a@example.com', emailDir: '' })

t.test('every type exists once, with a valid name', async (t) => {
  const types = definitions.map(({ type }) => type)
  t.strictSame(types, [
    'demo.sleep',
    'report.generate',
    'http.request',
    'tasks.export',
    'email.send',
    'image.thumbnail',
    'webhook.deliver',
  ])
  t.equal(new Set(types).size, types.length)
  for (const type of types) t.ok(Value.Check(TaskType, type), type)
  t.ok(types.includes(DEFAULT_TYPE))
})

t.test('every definition is documented for the form and the API', async (t) => {
  for (const { type, title, description, payload } of definitions) {
    t.ok(title.length > 3 && description.length > 30, `${type} has a description`)
    const schema = JSON.parse(JSON.stringify(payload)) as { additionalProperties: boolean; properties: object }
    t.equal(schema.additionalProperties, false, `${type} refuses unknown fields`)
    for (const [name, property] of Object.entries(schema.properties)) {
      t.match(property, { title: String }, `${type}: ${name} has a title`)
    }
  }
})

t.test('the schemas survive conversion to JSON', async (t) => {
  for (const { type, payload, result } of definitions) {
    for (const schema of [payload, result]) {
      t.doesNotThrow(() => Schema.Compile(JSON.parse(JSON.stringify(schema)) as object), type)
    }
  }
})
