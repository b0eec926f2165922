/** An export whose worker dies at each crash point: the next attempt completes it, with the same file. */
import { createHash } from 'node:crypto'
import t from 'tap'
import { DEFAULT_PRINCIPAL } from '../../src/access/principal.js'
import { tasksExport } from '../../src/handlers/tasks-export.js'
import { exportPage, exportSlice, looksLikeFormula } from '../../src/store/reads/export.js'
import { editTaskIfWaiting } from '../../src/store/tasks/edit.js'
import { runDefinition, type RunOptions } from '../../src/testing/run-definition.js'
import { openTestDatabase, storeTasks } from '../helpers/database.js'
import { startPostgres } from '../helpers/services.js'

const db = await openTestDatabase(t, (await startPostgres(t)).url)
const ids = await storeTasks(db, 25)

const POINTS = [
  'after-effect:scope',
  'after-effect:part-00001',
  'after-record:part-00001',
  'after-effect:file',
  'after-record:file',
  'before-return',
] as const satisfies RunOptions['crashAt'][]

for (const crashAt of POINTS) {
  t.test(`the worker dies at ${crashAt}`, async (t) => {
    const lost = await runDefinition(tasksExport, {}, { db, crashAt })
    const run = await runDefinition(tasksExport, {}, { db, after: lost })
    const { artifacts } = run.reported
    const content = artifacts.get('tasks.csv')?.content ?? Buffer.alloc(0)
    const sha256 = createHash('sha256').update(content).digest('hex')
    t.match(run, {
      status: 'COMPLETED',
      attempt: 2,
      result: { file: 'tasks.csv', rows: ids.length, bytes: content.length, sha256 },
    })
    t.same([...artifacts.keys()], ['tasks.csv'], 'no parts are left')
    t.same(
      content
        .toString()
        .trim()
        .split('\r\n')
        .slice(1)
        .map((line) => line.split(',')[0]),
      ids.toSorted(),
    )
  })
}

t.test('at the end the progress is complete, in whole numbers, however wrong the estimate was', async (t) => {
  await db.run({ name: 'analyze', text: 'analyze taskwire.tasks' }, [])
  // The estimate follows the size of the table, which has grown since.
  const more = await storeTasks(db, 3, { payload: { text: 'x'.repeat(1_900) } })
  const { progress } = (await runDefinition(tasksExport, {}, { db })).reported
  t.ok(progress.every(({ done, total }) => Number.isInteger(done) && Number.isInteger(total)))
  t.match(progress.at(-1), { done: ids.length + more.length, total: ids.length + more.length })
})

const csvOf = ({ reported }: Awaited<ReturnType<typeof runDefinition>>) =>
  reported.artifacts.get('tasks.csv')?.content.toString() ?? ''

t.test('a cell that a spreadsheet would run as a formula becomes text', async (t) => {
  const tag = 'formulas'
  const signs = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '﹦', '−']
  const before = [
    '',
    ' ',
    '\t',
    '\r',
    '\n',
    '\uFEFF',
    '"',
    "'",
    ';',
    ',',
    '|',
    ':',
    '\u00A0',
    '\u3000',
    '\u200B',
    '“',
    '«',
    '＂',
    '；',
    '，',
    ' \uFEFF"; ',
    '""',
    '\u0001',
    ' '.repeat(300),
  ]
  const titles = before.flatMap((start) => signs.map((sign) => `${start}${sign}1+1`))
  const harmless = ['a = b', '1-1', 'é=1', '(a) - b', '"a"=1', '; a=1', '日本=1', '😀=1']
  for (const title of [...titles, '\tplain', '\rplain', '\nplain', ...harmless])
    await storeTasks(db, 1, { title, tags: [tag] })
  const csv = csvOf(await runDefinition(tasksExport, { tag }, { db }))
  const shown = (title: string) => title.replaceAll('"', '""')
  for (const title of [...titles, '\tplain', '\rplain', '\nplain'])
    t.ok(csv.includes(`,"'${shown(title)}",`), JSON.stringify(title))
  for (const title of harmless) t.ok(csv.includes(`,"${shown(title)}",`), title)
})

t.test('so does one with any invisible character, quote or separator before the formula sign', async (t) => {
  const passedOver = /[\p{White_Space}\p{Cc}\p{Default_Ignorable_Code_Point}\p{Pi}\p{Pf}"'`´„‚＂＇,;:|،؛、，：；｜]/u
  const text = `select array_to_json(array_agg(n))::text as codes from generate_series(1, 65535) n where n not between 55296 and 57343 and ${looksLikeFormula(`chr(n) || '=1'`)}`
  const [row] = await db.run<{ codes: string }>({ name: 'test_formulas', text }, [])
  const guarded = new Set(JSON.parse(row?.codes ?? '[]') as number[])
  const codes = Array.from({ length: 65_535 }, (_, index) => index + 1)
  const missed = codes.filter((code) => passedOver.test(String.fromCharCode(code)) && !guarded.has(code))
  t.same(
    missed.map((code) => code.toString(16)),
    [],
  )
  t.same(
    codes
      .filter(
        (code) =>
          /[\p{L}\p{N}]/u.test(String.fromCharCode(code)) &&
          guarded.has(code) &&
          !passedOver.test(String.fromCharCode(code)),
      )
      .map((code) => code.toString(16)),
    [],
    'letters and digits begin text',
  )
})

t.test('a CSV file begins with a byte order mark unless it is disabled; NDJSON never does', async (t) => {
  const [id = ''] = await storeTasks(db, 1, { title: 'Grüße 日本', tags: ['bom'] })
  const read = async (payload: object, file: string) =>
    (await runDefinition(tasksExport, { tag: 'bom', ...payload }, { db })).reported.artifacts.get(file)
  const usual = await read({}, 'tasks.csv')
  t.equal(usual?.mediaType, 'text/csv; charset=utf-8')
  t.same(usual?.content.subarray(0, 5), Buffer.from([0xef, 0xbb, 0xbf, 0x69, 0x64]))
  t.match(usual?.content.toString('utf8'), new RegExp(`\r\n${id},"Grüße 日本",`))
  t.same((await read({ byteOrderMark: false }, 'tasks.csv'))?.content, usual?.content.subarray(3))
  for (const byteOrderMark of [true, false]) {
    const lines = (await read({ format: 'ndjson', byteOrderMark }, 'tasks.ndjson'))?.content.toString()
    t.match(JSON.parse(lines ?? ''), { id, title: 'Grüße 日本' })
    t.equal(lines?.[0], '{')
  }
})

t.test('cells longer than a spreadsheet shows are counted in the result', async (t) => {
  const ofLength = (length: number, character = 'x') => ({
    payload: { text: character.repeat((length - '{"text": ""}'.length) / character.length) },
  })
  const export_ = (tag: string, payload: object = {}) => runDefinition(tasksExport, { tag, ...payload }, { db })
  await storeTasks(db, 1, { ...ofLength(32_767), tags: ['fits'] })
  const fitting = await export_('fits')
  t.match(fitting, { status: 'COMPLETED', result: { longCells: 0 } })
  t.notOk(fitting.status === 'COMPLETED' && 'note' in fitting.result)
  await storeTasks(db, 2, { ...ofLength(32_768), tags: ['long'] })
  await storeTasks(db, 1, { ...ofLength(32_768, '😀'), tags: ['long', 'emoji'] })
  await storeTasks(db, 1, { ...ofLength(32_766, '😀'), tags: ['long'] })
  t.match(await export_('long'), {
    result: { rows: 4, longCells: 3, note: /^3 cells have more than 32767 characters: Excel/ },
  })
  t.match(await export_('emoji'), { result: { longCells: 1, note: /^1 cell has more/ } })
  t.match(await export_('long', { format: 'ndjson' }), { result: { rows: 4, longCells: 0 } })
})

t.test('pages are limited in bytes, and every row is exported once, whatever its size', async (t) => {
  const tag = 'sizes'
  const sizes = [1, 2_400_000, 10, 1_200_000, 1_200_000, 100, 1]
  for (const size of sizes) await storeTasks(db, 1, { payload: { text: 'a"é😀'.repeat(size / 4) }, tags: [tag] })
  for (let many = 0; many < 5; many += 1) await storeTasks(db, 7, { tags: [tag] })
  const run = await runDefinition(tasksExport, { tag, format: 'ndjson' }, { db })
  t.match(run, { status: 'COMPLETED', result: { rows: sizes.length + 35 } })
  const rows = (run.reported.artifacts.get('tasks.ndjson')?.content.toString() ?? '')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string; payload: { text?: string } })
  t.same(
    rows.slice(0, sizes.length).map(({ payload }) => payload.text?.length),
    sizes.map((size) => 'a"é😀'.repeat(size / 4).length),
  )
  t.equal(new Set(rows.map(({ id }) => id)).size, sizes.length + 35)
  t.same(
    rows.map(({ id }) => id),
    rows.map(({ id }) => id).toSorted(),
  )
  const lines = csvOf(await runDefinition(tasksExport, { tag }, { db }))
    .trim()
    .split('\r\n')
  t.equal(lines.length, 1 + sizes.length + 35)
  t.match(lines.at(-1), /,,"\{/)
})

t.test('a row that changes while its slices are read fails the attempt, and is not mixed', async (t) => {
  const [id = ''] = await storeTasks(db, 1, { payload: { text: 'a'.repeat(100) }, tags: ['moving'] })
  const page = await exportPage(
    DEFAULT_PRINCIPAL,
    db,
    { tag: 'moving' },
    { format: 'ndjson', afterId: null, limit: 1_000, maxBytes: 50 },
  )
  t.match(page, { rows: 1, lines: null, large: { id } })
  if (page.large === null) return
  t.equal((await exportSlice(DEFAULT_PRINCIPAL, db, page.large, 'ndjson', 0, 10)).length, 10)
  t.ok(await editTaskIfWaiting(DEFAULT_PRINCIPAL, db, id, { title: 'another' }))
  await t.rejects(exportSlice(DEFAULT_PRINCIPAL, db, page.large, 'ndjson', 10, 10), {
    message: /changed while its row was being written/,
  })
})
