/**
 * `npm test [-- <part of a file's name> …]` and `npm run test:deep`: passes the selected files to tap.
 *
 * In depth: files with deeper counts (they import `helpers/depth.js`), and files that only run then (`*.deep.ts`).
 */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { makeTemporaryFolder } from './temporary-folder.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const SOURCES = join(ROOT, 'test')

const args = process.argv.slice(2)
const isDeep = args.includes('--deep')
const parts = args.filter((arg) => !arg.startsWith('-'))
const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
  .filter(isMeant)
  .filter(isAskedFor)
  .sort(longestFirst)
if (files.length === 0) {
  console.error(`No test file has ${parts.join(' or ')} in its name.`)
  process.exit(1)
}
const env = {
  ...process.env,
  TMPDIR: makeTemporaryFolder(),
  TEST_FILES: files.join('\n'),
  TEST_DEPTH: isDeep ? 'deep' : '',
}
const tap = spawn(
  join(ROOT, 'node_modules/.bin/tap'),
  ['dist-test/suite.js', ...args.filter((arg) => arg.startsWith('-') && arg !== '--deep')],
  { cwd: ROOT, stdio: 'inherit', env },
)
tap.on('exit', (code) => process.exit(code ?? 1))
// tap ends the tests first; the temporary files are removed when this process ends.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => tap.kill(signal))

/** Files that start whole processes take the longest: the last ones to run should be short, or one of them runs alone. */
function longestFirst(a: string, b: string): number {
  return Number(isLong(b)) - Number(isLong(a)) || (a < b ? -1 : 1)
}

function isLong(file: string): boolean {
  return /^(fault|e2e|services|broker|worker)\//.test(file)
}

function isMeant(file: string): boolean {
  if (file.endsWith('.deep.ts')) return isDeep
  return file.endsWith('.test.ts') && (!isDeep || /helpers\/depth\.js'/.test(readFileSync(join(SOURCES, file), 'utf8')))
}

/** Whether a file was selected, by its path in the project or by a part of it. */
function isAskedFor(file: string): boolean {
  return parts.length === 0 || parts.some((part) => join('test', file).includes(part))
}
