/**
 * JSON Merge Patch.
 * @see https://www.rfc-editor.org/rfc/rfc7396
 */

/** The value with the patch applied: a new value, which shares nothing with the patch. Undefined counts as no value. */
export function mergePatch(value: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return structuredClone(patch)
  const merged = new Map<string, unknown>(isObject(value) ? Object.entries(value) : [])
  for (const [name, change] of Object.entries(patch)) {
    if (change === null) merged.delete(name)
    else merged.set(name, mergePatch(merged.get(name), change))
  }
  return Object.fromEntries(merged)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
