/** The time limits of one run. Each calls back once, and none after `stop`. */
import type { TimeLimits } from '../../definitions/definition.js'

export interface RunLimits {
  /** The run sent a heartbeat. */
  alive(): void
  stop(): void
}

export interface LimitCallbacks {
  /** The run should end by itself now. */
  onSoft(): void
  /** The run has exceeded its hard limit. It is over, even if the handler continues. */
  onHard(): void
  /** The run has sent no heartbeat for too long. */
  onSilence(): void
}

export function startLimits(
  { softMs, hardMs, heartbeatMs }: TimeLimits,
  { onSoft, onHard, onSilence }: LimitCallbacks,
): RunLimits {
  const soft = softMs === undefined ? undefined : setTimeout(onSoft, softMs)
  const hard = hardMs === undefined ? undefined : setTimeout(onHard, hardMs)
  const silence = heartbeatMs === undefined ? undefined : setTimeout(onSilence, heartbeatMs)
  return {
    alive: () => void silence?.refresh(),
    stop() {
      for (const timer of [soft, hard, silence]) clearTimeout(timer)
    },
  }
}
