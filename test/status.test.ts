/** A status added to `public/protocol.js`: the compiler names every file that must handle it. */
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import t from 'tap'
import ts from 'typescript'

const ROOT = process.cwd()
const SOURCES = [
  'public/protocol.js',
  'public/protocol.d.ts',
  'public/parts/status.js',
  'public/format/standing.js',
  'src/store/reads/list-walks.ts',
]
const NEW = 'PAUSED'

/** Returns the errors that the compiler reports in these files with the changed statuses, one per line. */
function check(addStatus: (text: string) => string): string[] {
  const options: ts.CompilerOptions = {
    allowJs: true,
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    types: ['node'],
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
    lib: ['lib.es2023.d.ts', 'lib.es2024.string.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  }
  const host = ts.createCompilerHost(options)
  const read = host.readFile
  host.readFile = (name) => {
    const text = read(name)
    return text !== undefined && /public\/protocol\.(?:js|d\.ts)$/.test(name) ? addStatus(text) : text
  }
  const program = ts.createProgram(
    SOURCES.map((file) => join(ROOT, file)),
    options,
    host,
  )
  const files = new Set(SOURCES.map((file) => join(ROOT, file)))
  return program
    .getSourceFiles()
    .filter(({ fileName }) => files.has(fileName))
    .flatMap((file) => program.getSemanticDiagnostics(file))
    .map(
      ({ file, messageText }) =>
        `${relative(ROOT, file?.fileName ?? '')}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    )
}

t.test('the compiler names each file that must handle a new status', async (t) => {
  t.match(readFileSync('public/protocol.js', 'utf8'), "  'EXPIRED',\n])")
  const found = check((text) =>
    text
      .replace("  'EXPIRED',\n])", `  'EXPIRED',\n  '${NEW}',\n])`)
      .replace('"CANCELLED", "EXPIRED"]', `"CANCELLED", "EXPIRED", "${NEW}"]`),
  )
  t.ok(
    found.every((line) => line.includes(NEW)),
    found.join('\n'),
  )
  t.same([...new Set(found.map((line) => line.split(':')[0]))].sort(), [
    'public/format/standing.js',
    'public/parts/status.js',
    'public/protocol.js',
    'src/store/reads/list-walks.ts',
  ])
})
