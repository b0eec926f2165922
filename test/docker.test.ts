/** The image and docker-compose.yml against the code; nothing is run. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { describeConfig } from '../src/config.js'

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const image = read('Dockerfile')
const compose = read('docker-compose.yml')

t.test('what the services are given are settings that there are', async (t) => {
  const block = /environment: &environment\n((?: {4}\S.*\n)+)/.exec(compose)?.[1] ?? ''
  const given = [...block.matchAll(/^ +([A-Z_]+):/gm)].map((match) => match[1])
  const known = describeConfig().map(({ name }) => name)
  t.ok(given.length > 2)
  t.strictSame(given.filter((name) => !known.includes(name ?? '')), [])
})

t.test('the folders that settings name by default belong to the user of the image', async (t) => {
  const folders = describeConfig().map(({ default: initial }) => initial).filter((initial) => initial.startsWith('.taskwire'))
  t.ok(folders.length > 1)
  t.match(image, /chown node .*\.taskwire\b[^]*\nUSER node/)
})
