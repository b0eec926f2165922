/** The folder of a project's own definitions. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadOwnDefinitions } from '../../src/handlers/load-definitions.js'
import { loadRegistry } from '../../src/handlers/load-registry.js'
import { StartupError } from '../../src/startup-error.js'
import { OWN_TASKS } from '../helpers/processes.js'

const OPTIONS = { httpRequestAllowPrivate: false, emailFrom: 'a@example.com', emailDir: '' }

const DEFINITION = (type: string) => `
import { defineTask, Type } from 'taskwire'
export const task = defineTask({
  type: '${type}', title: 'T', description: 'D', payload: Type.Object({}), result: Type.Null(), run: async (): Promise<null> => null,
})`

async function folderOf(t: Test, files: Record<string, string>): Promise<string> {
  const folder = t.testdir()
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true })
    await writeFile(join(folder, name), text)
  }
  return folder
}

t.test('TypeScript and JavaScript modules are loaded from the folder and below it, each once', async (t) => {
  const { tasks: definitions } = await loadOwnDefinitions(OWN_TASKS)
  t.same(definitions.map(({ type }) => type).sort(), [
    'test.async-check',
    'test.async-options',
    'test.block',
    'test.crash',
    'test.exiting-check',
    'test.family',
    'test.faulty',
    'test.faulty-isolated',
    'test.file',
    'test.files',
    'test.flaky',
    'test.hasty-fault',
    'test.late-fault',
    'test.leak',
    'test.marker',
    'test.marks',
    'test.noted',
    'test.pid',
    'test.rejecting-result',
    'test.reverse',
    'test.single',
    'test.slow-file',
    'test.spin',
    'test.spin-on',
    'test.stages',
    'test.tour',
    'test.unstorable',
    'test.wait',
  ])
  const registry = await loadRegistry({ ...OPTIONS, tasksDir: OWN_TASKS })
  t.ok(registry.find('test.reverse'))
  t.ok(registry.find('demo.sleep'), 'beside the built-in ones')
})

t.test("modules outside the folder's own code are ignored", async (t) => {
  const folder = await folderOf(t, {
    'a.ts': DEFINITION('own.a'),
    'helper.ts': 'export const helper = 1',
    'a.test.ts': 'throw new Error("a test")',
    'types.d.ts': 'export declare const nothing: 1',
    'node_modules/b/index.js': 'throw new Error("a package")',
    '.hidden/c.js': 'throw new Error("hidden")',
    'notes.md': 'text',
  })
  t.same(
    (await loadOwnDefinitions(folder)).tasks.map(({ type }) => type),
    ['own.a'],
  )
})

t.test('errors name the file', async (t) => {
  const refused = async (files: Record<string, string>, message: RegExp) => {
    await t.test(String(message), async (t) => {
      const tasksDir = await folderOf(t, files)
      await t.rejects(loadRegistry({ ...OPTIONS, tasksDir }), { name: 'StartupError', message })
    })
  }
  await refused({ 'broken.ts': 'export const = 1' }, /^cannot load .*broken\.ts: /)
  await refused({ 'missing.ts': `import 'no-such-package'` }, /^cannot load .*missing\.ts: .*no-such-package/)
  await refused({ 'empty.ts': 'export {}' }, /^no module in .* exports a task: expected "export const/)
  await refused({ 'a.ts': DEFINITION('Not A Type') }, /^task type "Not A Type" /)
  await refused({ 'a.ts': DEFINITION('own.a'), 'b.ts': DEFINITION('own.a') }, /^task type "own\.a" is defined twice/)
  await refused({ 'a.ts': DEFINITION('demo.sleep') }, /^task type "demo\.sleep" is defined twice/)
  await t.rejects(
    loadOwnDefinitions('/no/such/folder'),
    new StartupError('cannot read the tasks folder /no/such/folder: it does not exist'),
  )
})

t.test('a mistake in a definition is reported with its file, export, type and option', async (t) => {
  const source = (options: string) =>
    `import { Type } from 'taskwire'\nexport const job = { type: 'own.a', title: 'T', description: 'D', ${options} }`
  const GOOD = 'payload: Type.Object({}), result: Type.Null(), run: async () => null'
  const cases: [options: string, said: RegExp][] = [
    [
      'payload: Type.Object({}), run: async () => null',
      /result is missing: expected a TypeBox schema, such as Type\.Null\(\)/,
    ],
    ['result: Type.Null(), run: async () => null', /payload is missing/],
    ['payload: Type.Object({}), result: Type.Null()', /run is missing: expected a function/],
    [
      'payload: Type.Object({}), result: Type.Null(), runn: async () => null',
      /has no option "runn"; did you mean "run"\?/,
    ],
    [`${GOOD}, timeoutMs: 5`, /has no option "timeoutMs"/],
    [`${GOOD}, atempts: 5`, /did you mean "attempts"/],
    [`${GOOD}, backoff: { kind: 'nope' }`, /backoff must be/],
    [`${GOOD}, backoff: { kind: 'fixed', delayMs: -1 }`, /backoff delayMs must be >= 0/],
    [`${GOOD}, backoff: 'x'`, /backoff must be/],
    [`${GOOD}, backoff: null`, /backoff must be/],
    [`${GOOD}, attempts: '3'`, /attempts must be/],
    [`${GOOD}, concurrency: 0`, /concurrency must be/],
    [`${GOOD}, isolation: 'thread'`, /isolation must be one of none, process/],
    [`${GOOD}, queue: 5`, /queue must be/],
    [`${GOOD}, title: 5`, /title must be/],
    [`${GOOD}, timeLimits: { softms: 5 }`, /timeLimits softms is not known here/],
    [`${GOOD}, timeLimits: { hardMs: 2 ** 31 }`, /timeLimits hardMs must be <= 2147483647/],
    [`${GOOD}, uniqueBy: 'x'`, /uniqueBy is not a function/],
    [`${GOOD}, progress: 5`, /progress is not a schema/],
  ]
  for (const [index, [options, said]] of cases.entries()) {
    // Each file has a different name, because Node loads a module only once.
    const tasksDir = await folderOf(t, { 'good.ts': DEFINITION('own.good'), [`wrong-${index}.ts`]: source(options) })
    await t.rejects(loadRegistry({ ...OPTIONS, tasksDir }), { name: 'StartupError', message: said }, options)
    await t.rejects(
      loadRegistry({ ...OPTIONS, tasksDir }),
      { message: /^task type "own\.a": .*\(export "job" of .*wrong-\d+\.ts\)$/ },
      options,
    )
  }
})

t.test('a module that never finishes loading is named', async (t) => {
  const folder = await folderOf(t, { 'stuck.ts': 'await new Promise(() => {})\nexport {}' })
  await t.rejects(loadOwnDefinitions(folder, 100), {
    name: 'StartupError',
    message: /^cannot load .*stuck\.ts: it did not load within 0\.1 s/,
  })
})
