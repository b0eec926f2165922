/** The context of the test kit, as the tests of the built-in handlers use it. */
import type { TaskContext } from '../../src/definitions/definition.js'
import { createTestContext, type ContextOptions, type Reported } from '../../src/testing/context.js'

export function createContext(options: ContextOptions = {}): {
  context: TaskContext
  progress: Reported['progress']
  reported: Reported
} {
  const { context, reported } = createTestContext({ taskId: '019aa3f2-7c1e-7b3a-9a55-0d1c1f6f1e10', ...options })
  return { context, progress: reported.progress, reported }
}
