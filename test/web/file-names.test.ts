/** Names and media types of files: which are kept, which are refused, and that neither can break out of its header. */
import { readdir } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { parse } from 'content-disposition'
import fc from 'fast-check'
import t from 'tap'
import { Type } from 'typebox'
import { readMediaType } from '../../src/artifacts/media-type.js'
import { defineTask } from '../../src/definitions/definition.js'
import type { Artifact, Link, Upload } from '../../src/protocol/artifact.js'
import type { Problem } from '../../src/protocol/errors.js'
import { findFileNameError, MAX_FILE_NAME_BYTES } from '../../src/protocol/file-name.js'
import type { Task } from '../../src/protocol/task.js'
import { runDefinition } from '../../src/testing/run-definition.js'
import { describeFile } from '../../src/web/file-headers.js'
import { startApp } from '../helpers/app.js'
import { runFileTask } from '../helpers/artifacts.js'
import { atDepth } from '../helpers/depth.js'
import { OWN_TASKS } from '../helpers/processes.js'

// Allows for the full counts on a slow machine.
t.setTimeout(900_000)

const folder = t.testdir()
const app = await startApp(t, ['worker', 'relay'], { TASKS_DIR: OWN_TASKS, ARTIFACTS_DIR: folder })

const KEPT = [
  ...[
    'Grüße aus Köln.pdf',
    '報告書 2026.xlsx',
    'отчёт.csv',
    'تقرير.txt',
    'दस्तावेज़.md',
    '👩‍👩‍👧 family.png',
    'e\u0301 decomposed.txt',
    '\u00e9 composed.txt',
  ],
  ...[
    '100% sure; really.txt',
    "it's.txt",
    'a&b=c#d.txt',
    'x+y z.txt',
    '.gitignore',
    'notes.txt.part',
    'UPPER.TXT',
    'upper.txt',
    '__proto__',
    'constructor',
    '~',
    '..a',
    'a..b',
  ],
  'ü'.repeat(127) + 'x',
]
const REFUSED: [name: string, detail: RegExp][] = [
  ['', /at least|shorter|fewer|empty/],
  ['..', /folder/],
  ['.', /folder/],
  ['../up.txt', /slash/],
  ['a\\b.txt', /slash/],
  ['/etc/passwd', /slash/],
  ['a\0b', /control/],
  ['a\r\nset-cookie: x=y', /control/],
  ['a\u0085b', /control/],
  ['a\u2028b', /control/],
  ['a\ufeffb', /control/],
  ['a\uffffb', /control/],
  ['cod\u202egpj.exe', /direction/],
  ['\u2067x.txt', /direction/],
  ['a:b.txt', /Windows reserves/],
  ['what?.txt', /Windows reserves/],
  ['"quoted".txt', /Windows reserves/],
  ['CON', /device/],
  ['nul.txt', /device/],
  ['com1.tar.gz', /device/],
  [' x.txt', /space/],
  ['x.txt ', /space/],
  ['x.', /dot/],
  ['ü'.repeat(128), /255 bytes/],
  ['x'.repeat(256), /255/],
]

/** Escapes a name for a line of TAP. */
const show = (text: string) =>
  JSON.stringify(text).replaceAll(/[^\x20-\x7e]/g, (character) => `\\u${character.charCodeAt(0).toString(16)}`)

const upload = (name: string, mediaType?: string) =>
  fetch(`${app.address}/api/uploads?name=${encodeURIComponent(name)}`, {
    method: 'POST',
    headers: mediaType === undefined ? {} : { 'content-type': mediaType },
    body: Buffer.from('content'),
  })

const run = (payload: object) => runFileTask(app.address, payload)

t.test('a name in any script survives upload, list, download and a signed link, byte for byte', async (t) => {
  const id = await writeAll(KEPT)
  for (const name of KEPT) {
    const sent = await upload(name)
    t.equal(sent.status, 201, show(name))
    t.equal(((await sent.json()) as Upload).name, name)
    const path = `/api/tasks/${id}/artifacts/${encodeURIComponent(name)}`
    const { url } = (await (await fetch(`${app.address}${path}/links`, { method: 'POST' })).json()) as Link
    for (const each of [path, url]) {
      const answer = await fetch(app.address + each)
      t.equal(answer.status, 200, each)
      t.equal(parse(answer.headers.get('content-disposition') ?? '').parameters['filename'], name)
      t.equal(await answer.text(), `content of ${name}`)
    }
  }
  const { items } = (await (await fetch(`${app.address}/api/tasks/${id}/artifacts`)).json()) as { items: Artifact[] }
  t.same(items.map(({ name }) => name).sort(), [...KEPT].sort())
  for (const { name, links } of items)
    t.equal(
      await (await fetch(app.address + links.download)).text(),
      `content of ${name}`,
      'the link of the list is encoded',
    )
})

t.test(
  'a name that some system could not store, or that is deceptive, is refused with the field and the fix',
  async (t) => {
    for (const [name, detail] of REFUSED) {
      const answer = await upload(name)
      t.equal(answer.status, 400, show(name))
      const { errors } = (await answer.json()) as Problem
      t.match(errors?.[0], { pointer: '/name', detail }, show(name))
      t.match(
        await runDefinition(writer(name), {}),
        { status: /RETRYING|FAILED/, error: { name: 'RangeError' } },
        `the test kit refuses it, too: ${show(name)}`,
      )
    }
    t.match(await run({ name: 'cod\u202egpj.exe' }), {
      status: 'FAILED',
      failure: { message: /artifact name .* is refused: it contains a character that reverses/ },
    })
    // Half a surrogate pair cannot be sent in a query, but a handler can create one.
    t.match(await runDefinition(writer('a\ud800b'), {}), { error: { message: /half of a surrogate pair/ } })
  },
)

t.test('the location of bytes is never derived from a name', async (t) => {
  const before = new Set(await readdir(folder, { recursive: true }))
  for (const name of KEPT) await upload(name)
  const made = (await readdir(folder, { recursive: true })).filter((path) => !before.has(path))
  t.ok(made.length >= KEPT.length)
  for (const path of made) t.match(path, /^[0-9a-f]{2}(\/[0-9a-f-]{36}(\/\d+-[0-9a-f]{40})?)?$/)
})

t.test('a media type is stored in canonical form, and an invalid one is refused', async (t) => {
  for (const [sent, stored] of [
    ['TEXT/CSV;Charset=UTF-8', 'text/csv; charset=UTF-8'],
    ['application/vnd.example+json; a="x;y"', 'application/vnd.example+json; a="x;y"'],
    [undefined, 'application/octet-stream'],
  ] as const) {
    t.match(await (await upload('a.bin', sent)).json(), { mediaType: stored })
  }
  for (const wrong of [
    'text',
    'text/',
    '/plain',
    'te xt/plain',
    'text/plain, text/html',
    `text/${'x'.repeat(500)}`,
    'text/h\u00e4',
  ]) {
    const answer = await upload('a.bin', wrong)
    t.equal(answer.status, 400, wrong)
    t.match(await answer.json(), { code: 'invalid_request', errors: [{ pointer: '/content-type' }] }, wrong)
  }
  for (const wrong of ['text/plain\r\nx: y', 'text/plain; a="\r\nx: y"', 'text/\0', 'nothing', '']) {
    t.match(
      await runDefinition(writer('a.txt', wrong), {}),
      { error: { name: 'RangeError', message: /media type .* is refused/ } },
      JSON.stringify(wrong),
    )
  }
})

t.test('any name or media type is refused or valid in its header', async (t) => {
  const text = fc.string({
    unit: fc.oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
      fc.constantFrom('"', '\\', '%41', '\r\n', ';', '\u202e', '\ud800', "'", '*', '='),
    ),
    maxLength: 60,
  })
  fc.assert(
    fc.property(text, (name) => {
      if (findFileNameError(name) !== undefined) return
      t.ok(name.isWellFormed() && Buffer.byteLength(name) <= MAX_FILE_NAME_BYTES, name)
      const { 'content-disposition': header = '' } = describeFile({ name, mediaType: 'text/plain' })
      if (parse(header).parameters['filename'] !== name || /[^\x20-\x7e]/.test(header))
        throw new Error(`${JSON.stringify(name)} becomes ${header}`)
    }),
    { numRuns: atDepth(1_000, 50_000) },
  )
  fc.assert(
    fc.property(
      fc.oneof(
        text,
        text.map((rest) => `text/plain;${rest}`),
      ),
      (mediaType) => {
        const read = readMediaType(mediaType)
        if (read === undefined) return
        if (readMediaType(read) !== read || /[^\t\x20-\x7e]/.test(read))
          throw new Error(`${JSON.stringify(mediaType)} becomes ${read}`)
      },
    ),
    { numRuns: atDepth(1_000, 50_000) },
  )
})

/** Runs one task that writes files with these names. */
async function writeAll(names: readonly string[]): Promise<string> {
  const headers = { 'content-type': 'application/json', prefer: 'wait=20' }
  const answer = await fetch(`${app.address}/api/tasks`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ type: 'test.files', payload: { names } }),
  })
  const task = (await answer.json()) as Task
  t.equal(task.status, 'COMPLETED')
  return task.id
}

function writer(name: string, mediaType?: string) {
  return defineTask({
    type: 'test.writer',
    title: 'Write',
    description: 'Writes a file.',
    payload: Type.Object({}),
    result: Type.Object({}),
    async run(_, { artifact }) {
      await pipeline(['x'], artifact(name, mediaType === undefined ? {} : { mediaType }))
      return {}
    },
  })
}
