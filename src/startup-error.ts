/** A start that cannot succeed: one line that says what is wrong and how to mend it. Shown without a stack. */
export class StartupError extends Error {
  override readonly name: string = 'StartupError'
}
