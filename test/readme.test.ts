import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { describeConfig } from '../src/config.js'
import { createRegistry } from '../src/definitions/registry.js'
import { loadOwnDefinitions } from '../src/handlers/load-definitions.js'
import { INITIAL_STATUSES, isFinal, STATUSES, TRANSITIONS } from '../src/protocol/status.js'
import { CLOSES } from '../src/protocol/stream.js'
import { runDefinition } from '../src/testing/run-definition.js'

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const readme = read('README.md')

/** The lines of the README's state diagram, generated from the table. */
function drawStates(): string {
  const starts = INITIAL_STATUSES.map((status) => `  [*] --> ${status}`)
  const moves = STATUSES.flatMap((from) => TRANSITIONS[from].map((to) => `  ${from} --> ${to}`))
  const ends = STATUSES.filter(isFinal).map((status) => `  ${status} --> [*]`)
  return [...starts, ...moves, ...ends].join('\n')
}

/** The configuration table, generated from the schemas. */
function tabulateConfig(): string {
  const rows = describeConfig().map(
    ({ name, roles, default: initial, meaning }) => `| \`${name}\` | ${roles.join(', ')} | ${initial} | ${meaning} |`,
  )
  return ['| variable | roles | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n')
}

t.test('the state diagram matches the table of transitions', async (t) => {
  t.ok(readme.includes(drawStates()), `the diagram should be:\n${drawStates()}`)
})

t.test('the configuration table matches the schemas', async (t) => {
  t.ok(read('docs/configuration.md').includes(tabulateConfig()), `the table should be:\n${tabulateConfig()}`)
})

t.test('the dependency tables name every dependency, and no others', async (t) => {
  const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Record<string, Record<string, string>>
  const section = /## Dependencies\n([\s\S]*?)\n## /.exec(readme)?.[1] ?? ''
  const named = new Set([...section.matchAll(/`([^`\s]+)`/g)].map((match) => match[1]))
  const wanted = [...Object.keys(dependencies ?? {}), ...Object.keys(devDependencies ?? {})].filter(
    (name) => !name.startsWith('@types/') && name !== '@eslint/js',
  )
  for (const name of wanted) t.ok(named.has(name), `${name} is explained`)
  for (const version of Object.values({ ...dependencies, ...devDependencies }))
    t.match(version, /^\d/, 'versions are pinned')
})

t.test('the files that the documents link to exist', async (t) => {
  for (const file of [
    'README.md',
    ...readdirSync(new URL('../docs', import.meta.url))
      .filter((name) => name.endsWith('.md'))
      .map((name) => `docs/${name}`),
  ]) {
    for (const [, target = ''] of read(file).matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
      t.doesNotThrow(
        () => readFileSync(new URL(target, new URL(`../${file}`, import.meta.url))),
        `${file} links to ${target}`,
      )
    }
  }
})

t.test('the table of close codes matches the codes', async (t) => {
  const rows = Object.values(CLOSES).map(({ code, means, action }) => `| ${code} | ${means} | ${action} |`)
  const table = ['| code | means | do |', '| --- | --- | --- |', ...rows].join('\n')
  t.ok(read('docs/live-protocol.md').includes(table), `the table should be:\n${table}`)
})

t.test('the first task of docs/handlers.md loads and runs as printed', async (t) => {
  const [, code = ''] = /```ts\n(\/\/ my-tasks\/welcome\.ts[^]*?)```/.exec(read('docs/handlers.md')) ?? []
  const folder = t.testdir({ 'welcome.ts': code })
  const {
    tasks: [definition],
  } = await loadOwnDefinitions(folder)
  if (definition === undefined) return t.fail('it is a definition')
  t.match(createRegistry([definition], 'user.welcome').list(), [
    { type: 'user.welcome', attempts: 5, timeLimits: { softMs: 20_000, hardMs: 30_000 } },
  ])
  const run = await runDefinition(definition, { userId: 'u1' }, { effects: new Map([['subscribe', { listId: 'l1' }]]) })
  t.match(run, { status: 'COMPLETED', result: { listId: 'l1' } })
})
