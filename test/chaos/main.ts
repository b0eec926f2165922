/** `npm run chaos -- --seed 1 --minutes 5`: runs chaos by hand. The exit code is 1 when a violation is found. */
import { inspect, parseArgs } from 'node:util'
import { runChaos } from './run.js'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '1' },
    rate: { type: 'string', default: '20' },
  },
})
const [seed, minutes, rate] = [values.seed, values.minutes, values.rate].map(Number)
if (!(seed !== undefined && Number.isInteger(seed)) || !(Number(minutes) > 0) || !(Number(rate) > 0)) {
  console.error('Usage: npm run chaos -- [--seed <whole number>] [--minutes <number>] [--rate <tasks a second>]')
  process.exit(2)
}

const teardowns: (() => unknown)[] = []
const startedAtMs = performance.now()
const seconds = () => ((performance.now() - startedAtMs) / 1_000).toFixed(1).padStart(7)
/** Printed last, after the output that the processes write as they end. */
const lastWords: string[] = []
try {
  const { violations, ...report } = await runChaos(
    { teardown: (action) => teardowns.unshift(action) },
    {
      seed,
      seconds: Number(minutes) * 60,
      rate: Number(rate),
      onFault: (name) => console.log(`${seconds()} s  ${name}`),
    },
  )
  console.log(JSON.stringify({ seed, minutes: Number(minutes), ...report }, null, 2))
  lastWords.push(...violations.map((violation) => `Violation: ${violation}`), `${violations.length} violations`)
  process.exitCode = violations.length > 0 ? 1 : 0
} catch (error) {
  lastWords.push(`The run failed: ${inspect(error)}`)
  process.exitCode = 1
}
for (const action of teardowns)
  await Promise.resolve()
    .then(action)
    .catch((error: unknown) => lastWords.unshift(`Cleaning up failed: ${inspect(error)}`))
console.log(lastWords.join('\n'))
process.exit()
