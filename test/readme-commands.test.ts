/** A newcomer can paste the commands in README.md and the guides: each runs against a new server. */
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { describeBanner } from '../src/services/banner.js'
import { makeWorkingFolder, startEverything } from './helpers/processes.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PRINTED_ADDRESS = 'http://127.0.0.1:3000'
const run = promisify(execFile)

const cwd = await makeWorkingFolder(t)
const { address } = await startEverything(t, cwd)

/** The code blocks in this language, from `start` to the next heading of that level. */
function readBlocks(file: string, language: string, start = ''): string[] {
  const text = readFileSync(join(ROOT, file), 'utf8')
  const from = text.indexOf(start)
  const end = start === '' ? -1 : text.indexOf('\n## ', from + 1)
  const section = text.slice(from, end === -1 ? undefined : end)
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(([, block = '']) =>
    block.replaceAll(PRINTED_ADDRESS, address),
  )
}

/** Runs the blocks in one shell, like a person who pastes them one after another, and returns the output of each. */
async function paste(blocks: readonly string[], folder: string): Promise<string[]> {
  const script = blocks.map((block) => `${block}\nprintf '\\n=====\\n'`).join('\n')
  // The environment lacks the hooks that tap puts into NODE_OPTIONS.
  const env = { ...process.env, NODE_OPTIONS: '', DATA_DIR: join(cwd, '.taskwire') }
  const options = { cwd: folder, env, maxBuffer: 1 << 26 }
  const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', script], options)
  return stdout.split('\n=====\n').slice(0, blocks.length)
}

/** Replaces times and durations, which differ from run to run. */
const withoutChance = (line: string) =>
  line.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME').replace(/"sleptMs":\d+/, '"sleptMs":N')

t.test('the quick start of the README works as printed', async (t) => {
  const blocks = readBlocks('README.md', 'sh', '## Quick start')
  const outputs = await paste(blocks, ROOT)
  const find = (part: string) => outputs[blocks.findIndex((block) => block.includes(part))] ?? ''
  for (const [index, output] of outputs.entries()) t.notMatch(output, /"code":"|not found|usage:/i, blocks[index] ?? '')

  const [sample = ''] = readBlocks('README.md', 'json', '## Quick start')
  const [printed, got] = [sample, find('"example task"')].map((text) => JSON.parse(text) as Record<string, unknown>)
  t.same(Object.keys(got ?? {}), Object.keys(printed ?? {}), 'the response has the printed fields')
  t.match(got, { title: printed?.['title'], status: printed?.['status'], type: printed?.['type'] })

  const [watched = ''] = readBlocks('README.md', 'text', '## Quick start')
  const lines = find('"watch me"').trim().split('\n').map(withoutChance)
  const shown = watched.trim().split('\n').map(withoutChance)
  // A client that connects after the end receives the same task in another form.
  if (lines.length > 1) t.equal(lines.at(-1), shown.at(-1), 'the stream ends as printed')
  t.match(lines.at(-1), /v3 +COMPLETED .*"steps":5/)
  const known = shown.map((line) => line.replace(/ {2}watch me/, ''))
  t.same(
    lines
      .filter((line) => /PROCESSING.*step/.test(line))
      .map((line) => line.replace(/ {2}watch me/, ''))
      .filter((line) => !known.includes(line)),
    [],
    'the stream has the printed steps',
  )
  t.match(find('failAt'), /v3 +FAILED .*failed at step 3, as asked\s*$/)
  t.match(find('doctor'), /^ok +the database has every migration$/m)
  t.notMatch(find('doctor'), /^bad/m)
})

t.test('the console line is the one that a start prints, and another test runs it', async (t) => {
  const banner = describeBanner({ address, database: '', redis: undefined })
  const [line = ''] = readBlocks('README.md', 'js', '## Quick start')
  t.ok(banner.includes(`  ${line.trim()}`), banner.join('\n'))
})

t.test('the program of the README watches a task to its end', async (t) => {
  const [, program = ''] = readBlocks('README.md', 'js', '## Quick start')
  // The file is inside the project, like a file in the folder of a clone.
  const file = join(t.testdir({}), 'watch.mjs')
  writeFileSync(file, program)
  const { stdout } = await run(process.execPath, [file], { env: { PATH: process.env['PATH'] } })
  t.match(stdout.trim().split('\n').at(-1), /^COMPLETED /)
})

t.test('the commands of docs/tasks.md work as printed', async (t) => {
  // `web/api-clients` tests the commands that install packages, without a network.
  const blocks = readBlocks('docs/tasks.md', 'sh').filter((block) => !/\bnpm install\b/.test(block))
  writeFileSync(join(cwd, 'photo.png'), 'not an image')
  const outputs = await paste(blocks, cwd)
  for (const [index, output] of outputs.entries()) t.notMatch(output, /"code":"/, blocks[index] ?? '')
  t.match(outputs[blocks.findIndex((block) => block.includes('/cancel'))], /"priority":9[^]*"status":"CANCELLED"/)
  t.match(outputs[blocks.findIndex((block) => block.includes('uploads'))], /report\.html[^]*"url":[^]*"upload":/)
})

t.test('the commands of docs/limits.md work as printed, and leave nothing set', async (t) => {
  const blocks = readBlocks('docs/limits.md', 'sh')
  const outputs = await paste(blocks, cwd)
  const find = (part: string) => outputs[blocks.findIndex((block) => block.includes(part))] ?? ''
  for (const [index, output] of outputs.entries()) t.notMatch(output, /"status":[45]\d\d/, blocks[index] ?? '')
  t.match(find('limits/demo'), /the limit demo allows 1 at a time; .* ahead of it[^]*"items":\[\{"name":"demo"/)
  t.match(find('"cost":3'), /"left":5[^]*"title":"a large one"/)
  t.match(find('document-17'), /"haltedBy"[^]*"code":"sequence_halted"[^]*"status":"COMPLETED"/)
  t.match(find('document-18'), /"version":1[^]*"title":"index again"[^]*"version":2/)
  t.match(find('pauses/type'), /"code":"paused"[^]*"status":"COMPLETED"/)
  t.match(find('"later"'), /"code":"run_time"[^]*"status":"CANCELLED"/)
  for (const path of ['pauses', 'weights', 'sequences']) {
    const answer = await fetch(`${address}/api/${path}`)
    t.same(await answer.json(), { items: [] }, path)
  }
})

t.test('the commands of docs/schedules.md work as printed, and leave nothing set', async (t) => {
  const blocks = readBlocks('docs/schedules.md', 'sh')
  const outputs = await paste(blocks, cwd)
  const find = (part: string) => outputs[blocks.findIndex((block) => block.includes(part))] ?? ''
  for (const [index, output] of outputs.entries()) t.notMatch(output, /"status":[45]\d\d/, blocks[index] ?? '')
  t.match(
    find('nightly-report'),
    /"words":"At 03:00, Europe\/Berlin"[^]*"schedule":\{"name":"nightly-report"[^]*"origin":"run","outcome":"created"/,
  )
  t.match(find('schedules/preview'), /"local":"2027-03-28 03:00:00 \+02:00","note":"gap"/)
  t.match(find('backfill'), /"reason":"the warehouse moves"[^]*"made":4,"items":\[[^]*"made":4,"items":\[/)
  t.same(await (await fetch(`${address}/api/schedules`)).json(), { items: [], nextCursor: null })
})
