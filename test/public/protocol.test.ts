/**
 * `public/protocol.js` is the single source of the facts that server and browser share: its types are generated from
 * it, and no other file repeats them.
 */
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import ts from 'typescript'
import * as protocol from '../../public/protocol.js'

const EMIT: ts.CompilerOptions = {
  allowJs: true,
  checkJs: true,
  strict: true,
  declaration: true,
  emitDeclarationOnly: true,
  types: [],
  target: ts.ScriptTarget.ES2023,
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
}
/** The source files of the page, without protocol.js. */
const files = readdirSync('public', { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.js') && file !== 'protocol.js',
)
/** The source of a file without its comments. */
const codeOf = (file: string) => readFileSync(join('public', file), 'utf8').replace(/\/\*[^]*?\*\/|\/\/.*$/gm, '')
const findIn = (pattern: RegExp) =>
  files.flatMap((file) => (codeOf(file).match(pattern) ?? []).map((found) => `${file}: ${found}`))

t.test('the types of protocol.js are those that the compiler generates from it', async (t) => {
  const outDir = mkdtempSync(join(tmpdir(), 'taskwire-types-'))
  const emitted = ts.createProgram(['public/protocol.js'], { ...EMIT, outDir }).emit()
  t.same(emitted.diagnostics, [])
  t.equal(
    readFileSync('public/protocol.d.ts', 'utf8'),
    readFileSync(join(outDir, 'protocol.d.ts'), 'utf8'),
    'run npm run types:protocol to update them',
  )
})

t.test('no other file of the page or the client lists the statuses or the final statuses', async (t) => {
  const name = `'(?:${protocol.STATUSES.join('|')})'`
  t.same(findIn(new RegExp(`${name},\\s*${name}`, 'g')), [])
})

t.test(
  'no other file of the page or the client repeats a close code, a refusal code or a limit of the protocol',
  async (t) => {
    t.same(
      findIn(/(?<![\w.#'])(?:1000|10[01]\d|4[05]\d\d)(?!\w)/g),
      [],
      'no close codes (write the number 1000 as 1_000)',
    )
    t.same(
      findIn(new RegExp(`'(?:${protocol.REFUSALS.filter((code) => code !== 'invalid_request').join('|')})'`, 'g')),
      [],
    )
    const limits = [
      'MAX_LIST_ROWS',
      'MAX_SELECTED_IDS',
      'MAX_IDS_IN_URL',
      'MAX_SILENCE_MS',
      'HEARTBEAT_MS',
      'MAX_IDS',
      'MAX_ROWS',
    ]
    t.same(findIn(new RegExp(`\\b(?:const|let) (?:${limits.join('|')})\\b`, 'g')), [], 'they are imported')
  },
)
