/** The smallest complete definition: a payload with defaults, progress, an error, and a run that stops on request. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from 'typebox'
import { defineTask } from '../definitions/definition.js'

export const demoSleep = defineTask({
  type: 'demo.sleep',
  title: 'Sleep in steps',
  description:
    'Waits for a number of steps and reports progress after each one. For trying things out; it can be made to fail.',
  payload: Type.Object(
    {
      steps: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 1000,
          default: 5,
          title: 'Steps',
          description: 'The number of steps; 0 completes at once.',
        }),
      ),
      stepMs: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 60_000,
          default: 300,
          title: 'Step length',
          description: 'The duration of each step, in milliseconds.',
        }),
      ),
      failAt: Type.Optional(
        Type.Integer({
          minimum: 1,
          title: 'Fail at step',
          description: 'The step that throws, from 1; none if omitted or beyond the last step.',
        }),
      ),
    },
    { additionalProperties: false },
  ),
  result: Type.Object(
    {
      steps: Type.Integer({ description: 'The number of steps taken.' }),
      sleptMs: Type.Integer({ description: 'The measured time from the first step to the last, in milliseconds.' }),
    },
    { additionalProperties: false },
  ),

  // A requested failure is not retried.
  attempts: 1,
  async run({ steps = 5, stepMs = 300, failAt }, { signal, progress }) {
    const startedAt = performance.now()
    for (let step = 1; step <= steps; step += 1) {
      if (step === failAt) throw new Error(`failed at step ${step}, as asked`)
      await sleep(stepMs, undefined, { signal })
      progress(step, steps, `step ${step} of ${steps}`)
    }
    return { steps, sleptMs: Math.round(performance.now() - startedAt) }
  },
})
