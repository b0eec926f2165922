/**
 * `npm run build`: src/ to dist/, a module each, in a fraction of a second. Types are not checked here (`npm run typecheck` does, and
 * CI), and declarations are made when the package is packed (`prepack`).
 *
 * Nothing is done when nothing has changed: dist/.build holds a hash of all that goes in. It is written last, so that a build which
 * was interrupted is done again. What is in dist/ and no source stands for is removed.
 */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('.', import.meta.url))
const dist = join(root, 'dist')
const stamp = join(dist, '.build')

const sources = listFiles('src').filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
const outputs = sources.map((file) => file.replace(/\.ts$/, '.js'))
const fingerprint = hashOf(['build.js', 'package-lock.json', 'tsconfig.json', ...sources.map((file) => join('src', file))])
if (!isUpToDate()) await build()

async function build() {
  const startedAt = performance.now()
  console.log('Building …')
  const { build: transpile } = await import('esbuild')
  rmSync(stamp, { force: true })
  await transpile({
    absWorkingDir: root,
    entryPoints: sources.map((file) => join('src', file)),
    outbase: 'src',
    outdir: 'dist',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'error',
  })
  const made = new Set(outputs.flatMap((file) => [file, `${file}.map`]))
  for (const file of listFiles('dist')) if (!made.has(file)) rmSync(join(dist, file))
  writeFileSync(stamp, fingerprint)
  console.log(`Built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
}

function isUpToDate() {
  try {
    return readFileSync(stamp, 'utf8') === fingerprint && outputs.every((file) => statSync(join(dist, file)).isFile())
  } catch {
    return false
  }
}

function listFiles(folder) {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(root, folder).length + 1))
    .sort()
}

function hashOf(files) {
  const hash = createHash('sha256')
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(join(root, file))).update('\0')
  return hash.digest('hex')
}
