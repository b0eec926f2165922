/**
 * Fails if the tables in `src/db/*schema.ts` differ from the migrations under `drizzle/`: drizzle-kit generates into a copy of the
 * folder, and the copy must not gain a file.
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
// The copy is inside the project, because drizzle-kit accepts only relative folders.
const copy = mkdtempSync(join(root, 'node_modules', '.cache-migrations-'))
try {
  cpSync(join(root, 'drizzle'), copy, { recursive: true })
  const before = readdirSync(copy).length
  const kit = spawnSync(
    process.execPath,
    [
      join('node_modules', 'drizzle-kit', 'bin.cjs'),
      'generate',
      '--dialect=postgresql',
      '--schema=./dist/db/*schema.js',
      `--out=${relative(root, copy)}`,
    ],
    { cwd: root, encoding: 'utf8' },
  )
  const isUnchanged =
    kit.status === 0 && readdirSync(copy).length === before && kit.stdout.includes('No schema changes')
  if (!isUnchanged) {
    console.error(
      `${kit.stdout}${kit.stderr}\nThe migrations do not match src/db/*schema.ts: run npm run migrations:generate and commit the result.`,
    )
    process.exitCode = 1
  } else {
    console.log('The migrations match src/db/*schema.ts.')
  }
} finally {
  rmSync(copy, { recursive: true, force: true })
}
