/** Long work on many items, in portions: whatever else is ready takes its turn between them. */
import { setImmediate as nextTurn } from 'node:timers/promises'

/** How long a portion takes, in milliseconds; the item that goes over it is finished first. */
const PORTION_MS = 10

/** As `items.map(map)`; stops at the first item for which `map` throws. */
export async function mapInPortions<Item, Value>(items: readonly Item[], map: (item: Item, index: number) => Value): Promise<Value[]> {
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
