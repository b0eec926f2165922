/** Variables of the relay. */
import { integer } from './kinds.js'
import { artifactsDir, dispatch } from './shared.js'

const relayIntervalMs = integer(50, 10_000, 250, 'the pause between two polls for due deliveries')
const maxLostAttempts = integer(
  1,
  100,
  3,
  'how many times a task may lose its worker while running alone in it before it is FAILED',
)

export const relay = { relayIntervalMs, ...dispatch, maxLostAttempts, artifactsDir }
