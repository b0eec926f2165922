/**
 * `npm run bench [create|read|lists|end-to-end|fan-out|fan-out-many|release]`: runs all benchmarks unless some are named.
 * Figures are ratios, because machines differ and drift.
 */
import { cpus } from 'node:os'
import { benchCreate } from './create.js'
import { benchEndToEnd } from './end-to-end.js'
import { benchFanOutMany } from './fan-out-many.js'
import { benchFanOut } from './fan-out.js'
import { benchLists } from './lists.js'
import { benchRead } from './read.js'
import { benchRelease } from './release.js'

const PROGRAMS: Record<string, () => Promise<void>> = {
  create: benchCreate,
  read: benchRead,
  lists: benchLists,
  'end-to-end': benchEndToEnd,
  'fan-out': benchFanOut,
  'fan-out-many': benchFanOutMany,
  release: benchRelease,
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => !(name in PROGRAMS))
if (unknown.length > 0) {
  console.error(`There is no benchmark called ${unknown.join(', ')}. There are: ${Object.keys(PROGRAMS).join(', ')}.`)
  process.exit(2)
}
console.log(`node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}\n`)
for (const name of names.length > 0 ? names : Object.keys(PROGRAMS)) {
  await PROGRAMS[name]?.()
  console.log()
}
process.exit(0)
