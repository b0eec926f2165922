/** The rights that are checked at the start are those that the statements of the product need. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CHANGED_TABLES, EMPTIED_TABLES } from '../../src/db/writability.js'

const root = join(import.meta.dirname, '../..')
const statements = [...filesOf('src', '.ts'), ...filesOf('drizzle', '.sql')]
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n')

function filesOf(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(root, folder, name))
}

function tablesOf(pattern: RegExp): string[] {
  return [...new Set([...statements.matchAll(pattern)].map(([, table]) => table ?? ''))].sort()
}

t.test('each table that a statement changes is checked for the right to update it', (t) => {
  const upserted = [
    ...statements.matchAll(/insert into taskwire\.(\w+)((?:(?!insert into)[^])*?)on conflict[^\n]*do update/g),
  ]
  const changed = [...tablesOf(/update taskwire\.(\w+)/g), ...upserted.map(([, table]) => table ?? '')]
  t.ok(upserted.length > 5)
  t.strictSame([...new Set(changed)].sort(), [...CHANGED_TABLES].sort())
  t.end()
})

t.test('each table that a statement deletes from is checked for the right to delete', (t) => {
  t.strictSame(tablesOf(/delete from taskwire\.(\w+)/g), [...EMPTIED_TABLES].sort())
  t.end()
})
