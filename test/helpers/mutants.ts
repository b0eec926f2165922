/** Proves that a test can fail: a mechanism is removed from a copy of the source, and the test must detect it. */
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Test } from 'tap'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const COPIED = ['src', 'test', 'public', 'drizzle', 'build.js', 'package.json', 'package-lock.json', 'tsconfig.json']

export interface Mutant {
  /** The missing mechanism, in words. */
  without: string
  file: string
  /** The text to replace. It occurs once in the file. */
  from: string
  to: string
  /** The test that detects it. It starts no roles and no isolated handlers: they are not built. */
  test: string
}

export async function copyProject(t: { teardown(action: () => unknown): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'taskwire-mutant-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  for (const path of COPIED) await cp(join(ROOT, path), join(folder, path), { recursive: true })
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Builds one test file in the folder. */
export async function buildTest(folder: string, file: string): Promise<void> {
  await promisify(execFile)(process.execPath, ['build.js', '--tests', '--alone', file], { cwd: folder })
}

/** Runs one test file up to the first failing assertion. Resolves with the exit code and the output. */
export function runTest(
  folder: string,
  file: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number; output: string }> {
  const { PATH, HOME, TMPDIR } = process.env
  const options = {
    cwd: folder,
    env: { PATH, HOME, TMPDIR, TAP_BAIL: '1', TAP_TIMEOUT: '120', ...env },
    maxBuffer: 64 * 1024 * 1024,
    timeout: 600_000,
  }
  const built = file.replace(/^test\//, 'dist-test/').replace(/\.ts$/, '.js')
  return new Promise((resolve) => {
    execFile(process.execPath, [built], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, output: stdout + stderr })
    })
  })
}

/** Defines a test for each mutant: it passes if the mutant's test fails in a copy of the project. */
export async function testMutants(t: Test, mutants: readonly Mutant[], env?: NodeJS.ProcessEnv): Promise<void> {
  await t.test('a test detects each missing mechanism', async (t) => {
    const folder = await copyProject(t)
    for (const mutant of mutants) await t.test(`without ${mutant.without}`, (t) => testMutant(t, folder, mutant, env))
  })
}

async function testMutant(t: Test, folder: string, mutant: Mutant, env?: NodeJS.ProcessEnv): Promise<void> {
  const { file, from, to, test } = mutant
  const path = join(folder, file)
  const source = await readFile(path, 'utf8')
  t.equal(source.split(from).length, 2, `${file} contains the removed text once`)
  await writeFile(
    path,
    source.replace(from, () => to),
  )
  try {
    // Nothing is built anew for a migration if the test was built last.
    await buildTest(folder, test)
    const { code, output } = await runTest(folder, test, env)
    t.not(code, 0, `${test} detects it`)
    t.match(output, /not ok|Bail out!|Property failed/, 'an assertion fails')
    t.notMatch(output, /Cannot find (module|package)/, 'nothing that the test runs is missing')
  } finally {
    await writeFile(path, source)
  }
}
