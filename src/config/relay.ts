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
const breakerAttempts = integer(
  0,
  1_000_000,
  20,
  'after so many attempts of a type within a minute, if nearly all fail for the same reason, the type is paused for a time; 0 for never',
)

export const relay = { relayIntervalMs, ...dispatch, maxLostAttempts, breakerAttempts, artifactsDir }
