/** `npm run build` on a copy of the project. */
import { execFile } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'

const root = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)
const folder = t.testdir()
for (const name of ['src', 'drizzle', 'public', 'build.js', 'package.json', 'package-lock.json', 'tsconfig.json'])
  cpSync(join(root, name), join(folder, name), { recursive: true })
symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))

const build = async () => (await run(process.execPath, ['build.js'], { cwd: folder })).stdout
const listModules = (name: string, ending: string) =>
  readdirSync(join(folder, name), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith(ending))
    .map((file) => file.slice(0, -ending.length))
    .sort()

t.test('every module is built, with its source map, and the command line runs', async (t) => {
  t.match(await build(), /^Building dist …\nBuilt in [\d.]+ s\n$/)
  t.strictSame(listModules('dist', '.js'), listModules('src', '.ts'))
  t.strictSame(listModules('dist', '.js.map'), listModules('src', '.ts'))
  const { stdout } = await run(process.execPath, ['dist/main.js', '--version'], { cwd: folder })
  t.match(stdout, /^\d+\.\d+\.\d+\n$/)
  t.equal(statSync(join(folder, 'dist/main.js')).mode & 0o777, 0o755, 'the command can be called by its name')
  const map = JSON.parse(readFileSync(join(folder, 'dist/db/open.js.map'), 'utf8')) as { sources: string[] }
  t.strictSame(map.sources, ['../../src/db/open.ts'])
})

t.test('nothing is built when nothing has changed', async (t) => {
  const { mtimeMs } = statSync(join(folder, 'dist/main.js'))
  t.equal(await build(), '')
  t.equal(statSync(join(folder, 'dist/main.js')).mtimeMs, mtimeMs)
})

t.test('a change is built, and output without a source is removed', async (t) => {
  writeFileSync(join(folder, 'src/new.ts'), 'export const answer: number = 41')
  await build()
  writeFileSync(join(folder, 'src/new.ts'), 'export const answer: number = 42')
  t.match(await build(), 'Built')
  t.match(readFileSync(join(folder, 'dist/new.js'), 'utf8'), 'answer = 42')
  rmSync(join(folder, 'src/new.ts'))
  await build()
  t.notOk(existsSync(join(folder, 'dist/new.js')))
})

t.test('an interrupted build, or one whose output was removed, is repeated', async (t) => {
  rmSync(join(folder, 'dist/db/open.js'))
  t.match(await build(), 'Built')
  t.ok(existsSync(join(folder, 'dist/db/open.js')))
  writeFileSync(join(folder, 'src/wrong.ts'), 'const = 1')
  await t.rejects(build(), { code: 1, stderr: /src\/wrong\.ts:1:6: ERROR/ })
  rmSync(join(folder, 'src/wrong.ts'))
  t.match(await build(), 'Built')
})
