/** A list whose entries are changed in place, so that focus and selection in them survive. */

/**
 * Fills `element` with an entry per item, in the order of the items.
 * @param create makes `{ element, update(item) }` from an item
 * @param onRemove receives the element of an entry before it is removed
 * @returns `{ update(items) }`
 */
export function createKeyedList(element, { keyOf, create, onRemove = () => {} }) {
  const entries = new Map()
  return {
    update(items) {
      const wanted = new Set(items.map(keyOf))
      for (const [key, entry] of entries) {
        if (wanted.has(key)) continue
        onRemove(entry.element)
        entries.delete(key)
        entry.element.remove()
      }
      items.forEach((item, index) => {
        const key = keyOf(item)
        if (!entries.has(key)) entries.set(key, create(item))
        const entry = entries.get(key)
        entry.update(item)
        const present = element.children[index] ?? null
        if (present !== entry.element) element.insertBefore(entry.element, present)
      })
    },
  }
}
