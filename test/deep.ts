/** `npm run test:deep`: the files with deeper counts (see helpers/depth.ts), and those that run in depth only. */
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

function findDeepFiles(): string[] {
  const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' }).map((name) => join('test', name))
  return files.filter((file) => file.endsWith('.deep.ts') || (file.endsWith('.test.ts') && /helpers\/depth\.js'/.test(readFileSync(join(ROOT, file), 'utf8'))))
}

const asked = process.argv.slice(2)
const tap = spawn('tap', asked.length > 0 ? asked : findDeepFiles(), { cwd: ROOT, stdio: 'inherit', env: { ...process.env, TEST_DEPTH: 'deep' } })
tap.on('exit', (code) => process.exit(code ?? 1))
