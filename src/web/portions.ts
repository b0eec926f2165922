/** Splits long work on many items into portions, so that other work gets its turn in between. */
import { setImmediate as nextTurn } from 'node:timers/promises'

/** How long a portion takes, in milliseconds; the current item is always finished. */
const PORTION_MS = 10

/** Like `items.map(map)`; stops at the first item for which `map` throws. */
export async function mapInPortions<Item, Value>(
  items: readonly Item[],
  map: (item: Item, index: number) => Value,
): Promise<Value[]> {
  const values: Value[] = []
  let endsAtMs = performance.now() + PORTION_MS
  for (const [index, item] of items.entries()) {
    values.push(map(item, index))
    if (performance.now() < endsAtMs) continue
    await nextTurn()
    endsAtMs = performance.now() + PORTION_MS
  }
  return values
}
