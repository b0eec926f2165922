/** A start that cannot succeed: one line that says what is wrong and how to fix it. Shown without a stack. */
export class StartupError extends Error {
  override readonly name: string = 'StartupError'
}
