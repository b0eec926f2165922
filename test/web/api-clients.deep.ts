/**
 * The API documents as other tools read them: linters report no problem, and a generated client knows the payload and
 * the result of each type.
 */
import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Parser } from '@asyncapi/parser'
import t, { type Test } from 'tap'
import { startApp, startWebBeside } from '../helpers/app.js'

// Each tool is a process that first loads a compiler or a linter, which takes a while on a slow machine.
t.setTimeout(300_000)

const run = promisify(execFile)
const main = (path: string) => new URL(`../../node_modules/${path}`, import.meta.url).pathname
// These settings keep the tools from making network requests.
const env = { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true', NO_COLOR: '1' }

/**
 * Types as strangers may write them: their schemas use other drafts, refer to themselves, or are not JSON Schema at
 * all.
 */
const STRANGE_TYPES = `
import { defineTask, Type } from 'taskwire'
const run = async () => ({})
const common = { title: 'T', description: 'D', run }
const anything = Type.Unsafe({ type: 'object' })
const of = (type, payload, result = anything) => defineTask({ ...common, type, payload, result })
export const tree = of('strange.tree', Type.Cyclic({ Node: Type.Object({ name: Type.String(), kids: Type.Array(Type.Ref('Node')) }) }, 'Node'))
export const refs = of('strange.refs', Type.Unsafe({
  $schema: 'http://json-schema.org/draft-07/schema#', $id: 'https://example.com/refs', type: 'object',
  definitions: { 'a name': { type: 'string' } }, $defs: { b: { type: 'integer' } },
  properties: { a: { $ref: '#/definitions/a name' }, b: { $ref: '#/$defs/b' } },
}))
export const tuple = of('strange.tuple', Type.Object({ pair: Type.Tuple([Type.String(), Type.Number()]) }), Type.Tuple([Type.String()]))
export const values = of('strange.values', Type.Unsafe({
  type: 'object', nullable: true, discriminator: 'x', 'x-order': 1,
  properties: {
    big: { type: 'integer', default: 1, maximum: 9n }, fn: { default: () => 1 }, kind: { type: 'string', enum: ['a', 1, null] },
    odd: { type: 'string', properties: { a: {} }, items: {} }, none: false, all: true, when: { type: 'date' }, list: { type: ['string', 'null'] },
  },
  required: ['kind'],
}))
export const defaults = of('strange.defaults', Type.Object({ must: Type.String({ default: 'x' }), may: Type.Optional(Type.Integer({ default: 3 })) }, { additionalProperties: false }))
export const needed = of('strange.needed', Type.Object({ must: Type.String({ minLength: 1 }) }, { additionalProperties: false }), Type.Object({ length: Type.Integer() }))
export const progress = defineTask({ ...common, type: 'strange.progress', payload: Type.Object({}), result: anything, progress: Type.Object({ stage: Type.String() }) })
`

const app = await startApp(t, ['worker', 'relay'])
const folder = t.testdir({ mine: { 'strange.ts': STRANGE_TYPES } })

async function save(address: string, name: string): Promise<string> {
  const file = join(folder, `${name.replaceAll('/', '_')}`)
  const answer = await fetch(address + name)
  if (answer.status !== 200) throw new Error(`${name} was answered with ${answer.status}: ${await answer.text()}`)
  await writeFile(file, await answer.text())
  return file
}

// Saved before the other server starts, because the base path is global to the process.
const plain = { openapi: await save(app.address, '/openapi.json'), asyncapi: await save(app.address, '/asyncapi.json') }

interface Lint {
  totals: { errors: number; warnings: number; ignored: number }
  problems: { ruleId: string; message: string; location: { pointer?: string }[] }[]
}

/** Checks the file with all of Redocly's recommended rules. */
async function lint(t: Test, file: string): Promise<void> {
  const { stdout } = await run(
    process.execPath,
    [main('@redocly/cli/bin/cli.js'), 'lint', file, '--extends=recommended', '--format=json'],
    { env, cwd: folder, maxBuffer: 1e8 },
  ).catch((error: { stdout: string }) => error)
  const { totals, problems } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as Lint
  t.same(
    problems.map(({ ruleId, message, location }) => `${ruleId}: ${message} at ${location[0]?.pointer}`),
    [],
  )
  t.same(totals, { errors: 0, warnings: 0, ignored: 0 })
}

async function checkStreams(t: Test, file: string): Promise<void> {
  const { document, diagnostics } = await new Parser().parse(await readFile(file, 'utf8'))
  t.same(
    diagnostics.map(({ code, message, path }) => `${code}: ${message} at ${path.join('/')}`),
    [],
  )
  t.equal(document?.version(), '3.1.0')
  t.same(
    document
      ?.operations()
      .all()
      .filter((operation) => operation.messages().length === 0),
    [],
    'each operation has messages',
  )
}

t.test('Redocly reports no problem in /openapi.json', (t) => lint(t, plain.openapi))
t.test('the AsyncAPI parser reports no problem in /asyncapi.json', (t) => checkStreams(t, plain.asyncapi))
t.test('the linter reports an invalid document', async (t) => {
  const broken = join(folder, 'broken.json')
  await writeFile(
    broken,
    (await readFile(plain.openapi, 'utf8')).replace('"operationId":"createTask"', '"operationId":"listTasks"'),
  )
  await t.rejects(
    run(process.execPath, [main('@redocly/cli/bin/cli.js'), 'lint', broken, '--extends=recommended', '--format=json'], {
      env,
      maxBuffer: 1e8,
    }),
  )
})

async function generate(name: string, document: string): Promise<void> {
  await run(process.execPath, [main('openapi-typescript/bin/cli.js'), document, '-o', join(folder, name)], {
    env,
    cwd: folder,
  })
}

async function compile(files: Record<string, string>): Promise<string> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    target: 'es2023',
    module: 'nodenext',
    lib: ['es2023', 'dom', 'dom.iterable'],
    types: [],
    noEmit: true,
    skipLibCheck: true,
  }
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: Object.keys(files) }))
  return run(process.execPath, [main('typescript/bin/tsc'), '-p', folder]).then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  )
}

const CREATES = `
import createClient from 'openapi-fetch'
import type { components, paths } from './taskwire-api.js'
const api = createClient<paths>({ baseUrl: 'http://localhost' })
const create = (body: components['schemas']['CreateTask']) => api.POST('/api/tasks', { body })
`
const RIGHT = [
  '{}',
  `{ title: 'x' }`,
  `{ type: 'demo.sleep' }`,
  `{ type: 'demo.sleep', payload: {} }`,
  `{ payload: { steps: 3 } }`,
  `{ type: 'demo.sleep', payload: { steps: 3 }, tags: ['a'], delayMs: 1 }`,
  `{ type: 'http.request', payload: { url: 'https://example.com/' } }`,
  `{ type: 'email.send', payload: { to: ['a@example.com'], subject: 's' } }`,
]
const WRONG = [
  '3',
  `{ title: 3 }`,
  `{ type: 'demo.nothing' }`,
  `{ type: 'demo.sleep', payload: { steps: 'x' } }`,
  `{ type: 'demo.sleep', payload: { stepz: 3 } }`,
  `{ payload: { url: 'https://example.com/' } }`,
  `{ type: 'http.request' }`,
  `{ type: 'http.request', payload: {} }`,
  `{ type: 'http.request', payload: { steps: 3 } }`,
  `{ type: 'webhook.deliver', payload: {} }`,
  `{ nothing: 1 }`,
]
const refuse = (statement: string) => `// @ts-expect-error\n${statement}`

const RESULTS = `
const { data: task, error } = await api.GET('/api/tasks/{id}', { params: { path: { id: 'x' }, header: { 'If-None-Match': '"3"' }, query: { wait: 3 } } })
const problem: components['schemas']['Problem'] | undefined = error
await api.POST('/api/tasks', { body: { title: 'x' }, params: { header: { 'Idempotency-Key': 'x', Prefer: 'wait=3' } } })
await api.POST('/api/tasks/batch', { body: { tasks: [{ title: 'a' }, { type: 'report.generate', payload: {} }] } })
${refuse(`await api.POST('/api/tasks/batch', { body: { tasks: [{ type: 'http.request', payload: {} }] } })`)}
if (task?.type === 'http.request') {
  const status: number | undefined = task.result?.status
  const url: string = task.payload.url
  ${refuse('const text: string | undefined = task.result?.status')}
  ${refuse('task.result?.nothing')}
  void [status, url, text]
}
${refuse('task?.result?.status')}
void problem`

t.test(
  'a generated client knows payloads, results, headers and errors, and the one in docs/tasks.md runs as printed',
  async (t) => {
    const docs = await readFile(new URL('../../docs/tasks.md', import.meta.url), 'utf8')
    const [, section = ''] = /\n## Generate a client\n([^]*?)(?=\n## |$)/.exec(docs) ?? []
    const [, version = '', output = ''] =
      /npx openapi-typescript@(\S+) http:\/\/127\.0\.0\.1:3000\/openapi\.json -o (\S+)/.exec(section) ?? []
    const [, code = ''] = /```ts\n([^]*?)```/.exec(section) ?? []
    const { devDependencies } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as {
      devDependencies: Record<string, string>
    }
    t.equal(version, devDependencies['openapi-typescript'])
    t.match(section, `npm install openapi-fetch@${devDependencies['openapi-fetch']}`)
    await generate(output, `${app.address}/openapi.json`)
    const printed = code.replaceAll('http://127.0.0.1:3000', app.address)
    const creates = [
      CREATES,
      ...RIGHT.map((body) => `await create(${body})`),
      ...WRONG.map((body) => refuse(`await create(${body})`)),
    ].join('\n')
    t.equal(await compile({ 'printed.ts': printed, 'creates.ts': creates, 'results.ts': CREATES + RESULTS }), '')
    const { stdout } = await run(process.execPath, [main('jiti/lib/jiti-cli.mjs'), join(folder, 'printed.ts')])
    t.match(section, `prints \`${stdout.trim()}\``)
  },
)

t.test(
  'with custom types and a base path the tools report no problem either, and the client knows the types',
  async (t) => {
    const address = await startWebBeside(t, app, { TASKS_DIR: join(folder, 'mine'), BASE_PATH: '/taskwire' })
    const [openapi, asyncapi] = [
      await save(address, '/taskwire/openapi.json'),
      await save(address, '/taskwire/asyncapi.json'),
    ]
    await lint(t, openapi)
    await checkStreams(t, asyncapi)
    t.match(JSON.parse(await readFile(openapi, 'utf8')), { servers: [{ url: '/taskwire' }] })
    t.match(JSON.parse(await readFile(asyncapi, 'utf8')), {
      servers: { here: { host: new URL(address).host, pathname: '/taskwire', protocol: 'ws' } },
    })
    await generate('taskwire-api.ts', openapi)
    const code = `${CREATES}
await create({ type: 'strange.tree', payload: { name: 'a', kids: [{ name: 'b', kids: [] }] } })
// @ts-expect-error
await create({ type: 'strange.tree', payload: { name: 'a', kids: [{ name: 'b', kids: [1] }] } })
await create({ type: 'strange.refs', payload: { a: 'x', b: 1 } })
// @ts-expect-error
await create({ type: 'strange.refs', payload: { a: 1 } })
await create({ type: 'strange.tuple', payload: { pair: ['a', 1] } })
await create({ type: 'strange.values', payload: { kind: 'a' } })
// @ts-expect-error
await create({ type: 'strange.values', payload: { kind: 'b' } })
await create({ type: 'strange.defaults', payload: {} })
await create({ type: 'strange.defaults' })
await create({ type: 'strange.needed', payload: { must: 'x' } })
// @ts-expect-error
await create({ type: 'strange.needed' })
const { data: task } = await api.GET('/api/tasks/{id}', { params: { path: { id: 'x' } } })
if (task?.type === 'strange.progress') { const stage: string | undefined = task.progress?.data?.stage; void stage }
if (task?.type === 'strange.defaults') { const filled: string = task.payload.must; void filled }
if (task?.type === 'strange.needed') { const length: number | undefined = task.result?.length; void length }
`
    t.equal(await compile({ 'strange.ts': code }), '')
    for (const body of [
      { type: 'strange.tree', payload: { name: 'a', kids: [] } },
      { type: 'strange.defaults' },
      { type: 'strange.values', payload: { kind: 'a' } },
      { type: 'strange.needed', payload: { must: 'x' } },
    ]) {
      const answer = await fetch(`${address}/taskwire/api/tasks`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ ...body, delayMs: 86_400_000 }),
      })
      t.equal(answer.status, 202, body.type)
    }
    t.equal(
      (await fetch(`${address}/taskwire/api/types`)).status,
      200,
      'the list of types omits values that are not JSON, too',
    )
  },
)
