/** The smallest complete definition: a payload with defaults, progress, an error, and a run that ends when asked to. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Type } from 'typebox'
import { defineTask } from '../definitions/definition.js'

export const demoSleep = defineTask({
  type: 'demo.sleep',
  title: 'Sleep in steps',
  description: 'Waits a number of steps and reports progress after each: for trying things out. Can be told to fail.',
  payload: Type.Object(
    {
      steps: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 1000,
          default: 5,
          title: 'Steps',
          description: 'How many steps; 0 ends at once.',
        }),
      ),
      stepMs: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 60_000,
          default: 300,
          title: 'Step length',
          description: 'Milliseconds a step takes.',
        }),
      ),
      failAt: Type.Optional(
        Type.Integer({
          minimum: 1,
          title: 'Fail at step',
          description: 'The step that throws, from 1; none when left out or beyond the last.',
        }),
      ),
    },
    { additionalProperties: false },
  ),
  result: Type.Object(
    {
      steps: Type.Integer({ description: 'How many steps were taken.' }),
      sleptMs: Type.Integer({ description: 'Milliseconds from the first step to the last, as measured.' }),
    },
    { additionalProperties: false },
  ),

  // What is asked to fail has failed.
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
