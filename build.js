/**
 * `npm run build` compiles src/ to dist/, module by module, in a fraction of a second. With `--tests` it also compiles
 * test/ to dist-test/, whose modules import those of dist/. Types are not checked here (`npm run typecheck` does that,
 * and CI), and declarations are generated when the package is packed (`prepack`).
 *
 * If nothing has changed, nothing is done: `.build` in each folder holds a hash of all inputs. It is written last, so
 * that an interrupted build is repeated. Files in the output folder without a source are removed.
 */
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('.', import.meta.url))

await buildIfChanged('src', 'dist')
if (process.argv.includes('--tests')) await buildIfChanged('test', 'dist-test', importBuiltSources)

/** @param rewrite applied to each built module */
async function buildIfChanged(from, to, rewrite = (text) => text) {
  const sources = listFiles(from).filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  const outputs = sources.map((file) => file.replace(/\.ts$/, '.js'))
  const stamp = join(root, to, '.build')
  const fingerprint = hashOf(['build.js', 'package-lock.json', 'tsconfig.json', ...sources.map((file) => join(from, file))])
  if (isUpToDate()) return

  const startedAt = performance.now()
  console.log(`Building ${to} …`)
  const { build: transpile } = await import('esbuild')
  rmSync(stamp, { force: true })
  const { outputFiles } = await transpile({
    absWorkingDir: root,
    entryPoints: sources.map((file) => join(from, file)),
    outbase: from,
    outdir: to,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    sourcesContent: false,
    logLevel: 'error',
    write: false,
  })
  for (const { path, text } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, path.endsWith('.js') ? rewrite(text) : text)
    // npm does this for a command only when it links the package: not for `npx taskwire` in a folder that was rebuilt.
    if (text.startsWith('#!')) chmodSync(path, 0o755)
  }
  const made = new Set(outputs.flatMap((file) => [file, `${file}.map`]))
  for (const file of listFiles(to)) if (!made.has(file)) rmSync(join(root, to, file))
  writeFileSync(stamp, fingerprint)
  console.log(`Built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)

  function isUpToDate() {
    try {
      return readFileSync(stamp, 'utf8') === fingerprint && outputs.every((file) => statSync(join(root, to, file)).isFile())
    } catch {
      return false
    }
  }
}

/** `from '../../src/tasks/attempt.js'` and `import('../src/…')` refer to the built module. */
function importBuiltSources(text) {
  return text.replace(/(\bfrom |\bimport |\bimport\()"((?:\.\.\/)+)src\/([^"]+\.js)"/g, '$1"$2dist/$3"')
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
