/** The walk and the table of docs/architecture.md refer to existing files and imports. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MOST_STEPS = 30
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const [, walk = ''] = /\n## One task, file by file\n([^]*?)\n## /.exec(read('docs/architecture.md')) ?? []
const [, table = ''] = /\n## Where do I change …\n([^]*?)\n## /.exec(read('docs/architecture.md')) ?? []

/** The files that a file imports, including for types. */
function importsOf(path: string): string[] {
  const names = [...read(path).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*'(\.[^']+)'/g)].map(([, name = '']) =>
    normalize(join(dirname(path), name)),
  )
  return names.map((name) => (name.startsWith('src/') ? name.replace(/\.js$/, '.ts') : name))
}

t.test('each step of the walk imports or is imported by an earlier one, or is reached over a transport', async (t) => {
  const steps = [...walk.matchAll(/^\d+\. (Over [^:]+: )?`([^`]+)`/gm)].map(([, wire, file = '']) => ({
    file,
    isFirst: wire !== undefined,
  }))
  t.ok(steps.length > 20 && steps.length <= MOST_STEPS, `${steps.length} steps`)
  t.equal(steps.length, walk.match(/^\d+\./gm)?.length, 'each step names its file')
  const before: string[] = []
  for (const [index, { file, isFirst }] of steps.entries()) {
    const isLinked =
      before.some((one) => importsOf(one).includes(file)) || importsOf(file).some((one) => before.includes(one))
    t.ok(existsSync(join(ROOT, file)) && (index === 0 || isFirst || isLinked), file)
    before.push(file)
  }
})

t.test('each rule of the table is in the file that it names', async (t) => {
  const rows = [...table.matchAll(/^\| (.+?) \| (`.+) \|$/gm)]
  t.ok(rows.length >= 20, `${rows.length} rules`)
  for (const [, rule, where = ''] of rows) {
    const [files = '', name] = where.split(': ')
    const [first = '', ...others] = files.split(', ').map((file) => file.replaceAll('`', ''))
    for (const file of [first, ...others.map((other) => join(dirname(first), other))])
      t.ok(existsSync(join(ROOT, file)), `${rule}: ${file}`)
    if (name !== undefined) t.match(read(first), new RegExp(`\\b${name.replaceAll('`', '')}\\b`), `${rule}: ${name}`)
  }
})

t.test('no file imports itself indirectly, not even for a type', (t) => {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join('src', file))
  const imports = new Map(files.map((file) => [file, importsOf(file)]))
  const done = new Set<string>()
  const circles: string[] = []
  const follow = (file: string, path: readonly string[]) => {
    if (path.includes(file)) return void circles.push([...path.slice(path.indexOf(file)), file].join(' → '))
    if (done.has(file)) return
    for (const next of imports.get(file) ?? []) follow(next, [...path, file])
    done.add(file)
  }
  for (const file of files) follow(file, [])
  t.ok(files.length > 100, 'the sources were found')
  t.same(circles, [])
  t.end()
})

t.test('only the hook, the tables, the SQL of applications and the test helpers use the default tenant', (t) => {
  const files = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.startsWith('access/'),
  )
  const naming = files.filter((file) =>
    /DEFAULT_(TENANT|PRINCIPAL)|tenant\w*\W{1,12}'default'/i.test(read(join('src', file))),
  )
  t.same(naming.sort(), [
    'db/schema.ts',
    'tasks/create/create-query.ts',
    'testing/context.ts',
    'testing/drain.ts',
    'web/principal.ts',
  ])
  t.end()
})
