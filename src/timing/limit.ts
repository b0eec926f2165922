/**
 * Lets at most `maxUnderWay` calls run at a time; the others wait their turn. A reconnect makes every watched task read
 * at once, and requests need connections too.
 */
export function limitUnderWay<Args extends unknown[], Answer>(
  maxUnderWay: number,
  call: (...args: Args) => Promise<Answer>,
): (...args: Args) => Promise<Answer> {
  const waiting: (() => void)[] = []
  let underWay = 0

  return async (...args) => {
    if (underWay < maxUnderWay) underWay += 1
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await call(...args)
    } finally {
      const next = waiting.shift()
      if (next) next()
      else underWay -= 1
    }
  }
}
