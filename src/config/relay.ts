/** Variables of the relay. */
import { integer } from './kinds.js'
import { artifactsDir, handOver } from './shared.js'

const relayIntervalMs = integer(50, 10_000, 250, 'the pause between two looks for deliveries that are due')
const maxLostAttempts = integer(1, 100, 3, 'after so many attempts that were alone in a worker that was lost a task is FAILED')

export const relay = { relayIntervalMs, ...handOver, maxLostAttempts, artifactsDir }
