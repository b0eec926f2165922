/** The package as npm packs it, in a project that has only the package and its dependencies. */
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { makeWorkingFolder, startEverything } from './helpers/processes.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)

/** Copies the project as a clone that has not been built. */
function cloneProject(folder: string): void {
  mkdirSync(folder)
  for (const name of readdirSync(root).filter(
    (name) => !['node_modules', 'dist', 'dist-test', '.git', '.taskwire', '.tap'].includes(name),
  )) {
    cpSync(join(root, name), join(folder, name), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
}

/**
 * Links the packages that `npm install` would put next to ours: no development dependencies, except types for the
 * compiler.
 */
function linkDependencies(modules: string): void {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { dev?: boolean }>
  }
  const names = Object.entries(packages).flatMap(([path, { dev }]) =>
    /^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) && (!dev || path.includes('/@types/'))
      ? [path.slice('node_modules/'.length)]
      : [],
  )
  for (const name of names.filter((name) => existsSync(join(root, 'node_modules', name)))) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
}

const GREET = `import { defineTask, Type } from 'taskwire'

export const greet = defineTask({
  type: 'user.greet',
  title: 'Greet',
  description: 'Says hello.',
  payload: Type.Object({ name: Type.String() }),
  result: Type.Object({ greeting: Type.String() }),
  run: async ({ name }) => ({ greeting: \`hello \${name}\` }),
})
`

const CLIENT = `import { createClient } from 'taskwire/client'

const client = createClient({ baseUrl: process.argv[2] })
console.log(JSON.stringify(await client.run('user.greet', { name: 'Ada' })))
`

/** Each `@ts-expect-error` would be unused if the types were `any`, which is itself an error. */
const TYPED = `import type { BuiltInTypes, TaskTypesOf } from 'taskwire'
import { createClient, type WatchOptions } from 'taskwire/client'
import { createTaskQuery } from 'taskwire/outbox'
import { runDefinition } from 'taskwire/testing'
import { greet } from './tasks/greet.js'

const options: WatchOptions = { baseUrl: 'http://127.0.0.1:3000' }
const client = createClient<BuiltInTypes & TaskTypesOf<[typeof greet]>>(options)
export const { greeting } = await client.run('user.greet', { name: 'Ada' })
export const length: number = greeting.length
// @ts-expect-error a name is a string
await client.run('user.greet', { name: 1 })
// @ts-expect-error there is no such type
await client.run('user.gret', { name: 'Ada' })
const { status } = await runDefinition(greet, { name: 'Ada' })
// @ts-expect-error not one of the statuses
export const isOver = status === 'OVER'
export const query: unknown = createTaskQuery
`

t.test('npm pack of a clone makes a package that runs and includes types', async (t) => {
  const parent = await makeWorkingFolder(t)
  const clone = join(parent, 'clone')
  cloneProject(clone)
  const { stdout } = await run('npm', ['pack', '--json', '--loglevel=error', '--pack-destination', parent], {
    cwd: clone,
    maxBuffer: 1 << 24,
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('[\n'))) as [{ filename: string; files: { path: string }[] }]
  const files = packed.files.map(({ path }) => path)
  for (const file of [
    'dist/main.js',
    'dist/index.d.ts',
    'dist/testing/index.d.ts',
    'drizzle/roles/role.sql',
    'public/task-stream.d.ts',
  ])
    t.ok(files.includes(file), file)
  t.strictSame(
    files.filter((path) => /^(test|node_modules)\/|\.build$|tsbuildinfo/.test(path)),
    [],
  )

  const project = join(parent, 'project')
  const modules = join(project, 'node_modules')
  mkdirSync(join(modules, 'taskwire'), { recursive: true })
  await run('tar', ['-xzf', join(parent, packed.filename), '--strip-components=1', '-C', join(modules, 'taskwire')])
  linkDependencies(modules)
  mkdirSync(join(project, 'tasks'))
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ['node'],
  }
  const written = {
    'package.json': '{"type":"module"}',
    'tasks/greet.ts': GREET,
    'client.js': CLIENT,
    'typed.ts': TYPED,
    'tsconfig.json': JSON.stringify({ compilerOptions }),
  }
  for (const [name, text] of Object.entries(written)) writeFileSync(join(project, name), text)

  await t.test('it starts with a folder of tasks, and a client runs one', async (t) => {
    const main = join(modules, 'taskwire', 'dist', 'main.js')
    const started = await startEverything(t, project, { main, flags: ['--tasks', 'tasks'] })
    const { stdout } = await run(process.execPath, ['client.js', started.address], {
      cwd: project,
      env: { ...process.env, NODE_OPTIONS: '' },
    })
    t.equal(stdout, '{"greeting":"hello Ada"}\n')
    t.strictSame(await started.stop(), { code: 0, signal: null })
  })

  await t.test('its types check, and none of them is any', async (t) => {
    const checked = await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', project], {
      cwd: project,
    }).catch((error: { stdout: string }) => error)
    t.equal(checked.stdout, '')
  })
})
